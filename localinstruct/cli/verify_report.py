"""`localinstruct verify-report`: an egress report and the files it names, checked offline."""

from pathlib import Path
from typing import Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import Json, SealedAlone


def verify_report(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A run's egress.json.")
    ] = None,
    key: Annotated[
        str,
        typer.Option(
            "--key",
            help="Public key it must be signed with: 64 hex digits, or a file with them or PEM.",
        ),
    ] = "",
    own_key: Annotated[
        bool,
        typer.Option(
            "--own-key", help="Print the public key that signs your own reports, to be handed over."
        ),
    ] = False,
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Check an egress report and the files it names, offline: what it proves, and who signed it."""
    from localinstruct import signing
    from localinstruct.errors import UsageError
    from localinstruct.offline import egress_report as egress

    if own_key:
        own = signing.own_public_key()
        console.as_json({"key": own}) if json else console.line(own)
        return
    if file is None:
        raise UsageError(
            "verify-report: expected a FILE.", "localinstruct verify-report runs/NAME/egress.json"
        )
    expected = signing.load_public(key).hex() if key else ""
    problems = egress.verify(file, expected)
    conclusion = egress.conclusion(file, expected, problems)
    if json:
        console.as_json({"file": str(file), "problems": problems, "conclusion": conclusion})
    else:
        for text in [*problems, *conclusion]:
            console.line(text)
    raise typer.Exit(1 if problems else 0)
