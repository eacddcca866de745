"""Bad files: the kept corpus in tests/data/bad_inputs (`index.yaml` says what each must bring), and
fuzzing of the parsers."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from unittest.mock import patch

import yaml

from localinstruct.curate.filters import Filters, first_reason
from localinstruct.errors import LocalInstructError
from localinstruct.formats import read as read_module
from localinstruct.formats import read_instances
from localinstruct.methods.numbered_list import parse_list
from localinstruct.models.catalog import load_catalog
from localinstruct.recipe import load_recipe
from localinstruct.records import Instance, Reject
from tests.support.scripted import numbered_list
from tests.torture.kills import Tick
from tests.torture.program import MODELS, RECIPE, SEEDS, run, workspace

ROW = '{"instruction": "Name a river", "input": "", "output": "The Rhine"}'
LIST = json.dumps(
    [{"instruction": f"Do {n}", "input": "", "output": "x"} for n in range(3)], indent=1
)
MESSAGES = (
    '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}'
)
SOUND = {"recipe.yaml": RECIPE, "models.yaml": MODELS % "/s"}
CORPUS = Path(__file__).parents[1] / "data" / "bad_inputs"


@dataclass(frozen=True)
class Case:
    """A file that a reader is given, and what must come of it."""

    name: str
    """Its place below tests/data/bad_inputs, or of a made one what it would be called there."""
    exit: int
    """0: read well."""
    line: int | None = None
    """The line that the message must name."""
    make: Callable[[], bytes] | None = None
    """Of a made one, which is not kept."""

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return self.make() if self.make else (CORPUS / self.name).read_bytes()

    @property
    def called(self) -> str:
        """Its name in a workspace."""
        return {"recipes": "recipe.yaml", "models": "models.yaml"}.get(
            self.name.split("/")[0], "seeds.jsonl"
        )


LINE_BYTES = 2**16
"""What a line may have while the files are read: it is lowered, so that they are small."""
MADE = (
    Case("seeds/long-line.jsonl", 2, 1, lambda: b'{"instruction": "' + b"x" * LINE_BYTES + b'"}'),
    Case(
        "seeds/longer-line.jsonl",
        2,
        2,
        lambda: ROW.encode() + b'\n{"instruction": "' + b"x" * (5 * LINE_BYTES) + b'"}',
    ),
    Case("seeds/deep-list.json", 2, 1, lambda: b"[" * 2_000 + b"]" * 2_000),
    Case("seeds/deep-object.jsonl", 2, 1, lambda: b'{"instruction":' * 2_000 + b"1" + b"}" * 2_000),
    Case("recipes/long-number.yaml", 2, None, lambda: b"name: " + b"9" * 5_000),
    Case("models/many-entries.yaml", 2, 1, lambda: b"".join(b"m%d: x\n" % n for n in range(500))),
)
"""Files that are easier made than kept."""


def cases() -> list[Case]:
    """All of them, with what `index.yaml` says of each."""
    index = yaml.safe_load((CORPUS / "index.yaml").read_text())
    return [Case(name, said["exit"], said.get("line")) for name, said in index.items()] + list(MADE)


READERS: dict[str, Callable[[Path], object]] = {
    "seeds.jsonl": read_instances,
    "recipe.yaml": load_recipe,
    "models.yaml": lambda path: load_catalog(path.parent),
}


@patch.object(read_module, "MAX_LINE_BYTES", LINE_BYTES)
def bad_files(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Each file through its reader and through the whole program: the exit code, the file's name,
    the line, no traceback."""
    wrong, known = list[str](), cases()
    asked = known if count >= len(known) else rng.sample(known, count)
    for number, case in enumerate(asked):
        here = folder / "one"
        workspace(here, target=3)
        path = here / case.called
        path.write_bytes(case.data)
        wrong += [f"{case.name}: {problem}" for problem in read(case, path)]
        outcome = run(here, ["generate", "recipe.yaml"])
        said = "".join(outcome.said.split())  # a narrow screen breaks lines anywhere
        wrong += [
            f"{case.name}: {problem} of the program" for problem in told(case, outcome.code, said)
        ]
        wrong += (
            []
            if outcome.clean
            else [f"{case.name}: a traceback of the program: {outcome.said[-300:]}"]
        )
        shutil.rmtree(here)
        tick(number + 1)
    (folder / "reached.json").write_text(json.dumps(dict(Counter(_sort(case) for case in asked))))
    return wrong


def _sort(case: Case) -> str:
    return (
        "read well"
        if not case.exit
        else "refused with a line"
        if case.line
        else "refused without lines to name"
    )


def read(case: Case, path: Path) -> list[str]:
    """What is wrong with what a case's reader says to it."""
    try:
        READERS[path.name](path)
    except LocalInstructError as error:
        return told(case, error.exit_code, "".join(error.message.split()))
    except Exception as error:  # whatever it is, it is the finding
        return [f"{type(error).__name__}: {str(error)[:200]}"]
    return told(case, 0, "")


def told(case: Case, code: int, said: str) -> list[str]:
    """What is wrong with an exit code and a message, given without its blanks."""
    if code != case.exit:
        return [f"expected exit {case.exit}, found {code}: {said[:300]}"]
    if code and case.called not in said:
        return [f"{case.called} is not in: {said[:300]}"]
    named = (
        case.line is None or f"{case.called}:{case.line}:" in said or f"(line{case.line})" in said
    )
    return [] if named else [f"line {case.line} is not in: {said[:300]}"]


def fuzz(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """`count` spoiled texts through the parsers: rows, recipes, models.yaml, and the teacher's
    lists with their filters."""
    wrong: list[str] = []
    sound = [numbered_list(Random(n)) for n in range(20)]
    rows = [SEEDS.encode(), LIST.encode(), f"{MESSAGES}\n".encode()]
    for number in range(count):
        try:
            if number % 50 == 0:
                _fuzz_file(folder, rng, number, rows)
            else:
                _fuzz_list(rng, rng.choice(sound))
        except LocalInstructError:
            pass
        except Exception as error:  # whatever it is, it is the finding
            wrong.append(f"iteration {number}: {type(error).__name__}: {str(error)[:200]}")
        if number % 200 == 199:
            tick(number + 1)
    return wrong


def _flipped(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def _fuzz_file(folder: Path, rng: Random, number: int, rows: list[bytes]) -> None:
    kind = number // 50 % 5
    name = ("seeds.jsonl", "seeds.jsonl", "seeds.jsonl", "recipe.yaml", "models.yaml")[kind]
    data = rows[kind] if kind < 3 else SOUND[name].encode()
    for _ in range(rng.randint(1, 6)):
        data = _flipped(data, rng) or data
    (folder / name).write_bytes(data)
    READERS[name](folder / name)


TOKENS = (
    "###",
    "\n",
    "4. ",
    "5. Instruction:",
    "Input:",
    "Output:",
    "<noinput>",
    "```",
    "**",
    "\x00",
    "\u202e",
    "21.",
    " ",
)


def _fuzz_list(rng: Random, text: str) -> None:
    """A short list, spoiled: every item is a row or a reject with a reason."""
    text = text[: rng.randint(20, 500)]
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(TOKENS) + text[place + rng.randint(0, 9) :]
    for found in parse_list(text, 4, 20, rng.choice(("stop", "length"))):
        if isinstance(found, Reject):
            assert found.stage, found
            assert found.reason, found
        else:
            assert isinstance(found, Instance)
            assert found.output, found
            first_reason(found, FILTERS)


FILTERS = Filters()
