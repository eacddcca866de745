"""What `import localinstruct` offers; the names come here when they are first used."""

from localinstruct.offline import switches


def enforce_offline() -> None:
    """Set the offline environment in this process; call it before a library is imported."""
    switches.enforce()
