"""Bad files: a corpus made of every reader times every kind of damage, and fuzzing of the parsers."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random

from localinstruct.curate.filters import Filters, first_reason
from localinstruct.errors import LocalInstructError
from localinstruct.formats import read_instances
from localinstruct.methods.numbered_list import parse_list
from localinstruct.models import load_catalog
from localinstruct.recipe import load_recipe
from localinstruct.records import Instance, Reject
from tests.scripted import numbered_list
from tests.torture.kills import Tick
from tests.torture.program import MODELS, RECIPE, SEEDS, run, workspace

ROW = '{"instruction": "Name a river", "input": "", "output": "The Rhine"}'
LIST = json.dumps([{"instruction": f"Do {n}", "input": "", "output": "x"} for n in range(3)], indent=1)
MESSAGES = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}'
SOUND = {"rows.jsonl": f"{ROW}\n{ROW.replace('river', 'sea')}\n", "rows.json": LIST, "talk.jsonl": f"{MESSAGES}\n",
         "recipe.yaml": RECIPE, "models.yaml": MODELS % "/s"}  # fmt: skip
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
Harm = Callable[[bytes, Random], bytes]


def _anywhere(insert: bytes) -> Harm:
    def harm(data: bytes, rng: Random) -> bytes:
        place = rng.randrange(len(data) + 1)
        return data[:place] + insert + data[place:]

    return harm


HARMS: dict[str, Harm] = {
    "empty": lambda data, rng: b"",
    "blank lines": lambda data, rng: b"\n\n\n",
    "BOM": lambda data, rng: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data, rng: data.decode().encode("utf-16"),
    "CRLF": lambda data, rng: data.replace(b"\n", b"\r\n"),
    "NUL": _anywhere(b"\x00"),
    "bad UTF-8": _anywhere(b"\xff\xc0"),
    "lone surrogate": _anywhere(b"\\ud800"),
    "raw surrogate": _anywhere(b"\xed\xa0\x80"),
    "cut": lambda data, rng: data[: rng.randrange(1, len(data))],
    "doubled": lambda data, rng: data + data,
    "deep JSON": lambda data, rng: b"[" * 100_000 + b"]" * 100_000,
    "deep object": lambda data, rng: b'{"instruction":' * 5_000 + b"1" + b"}" * 5_000,
    "long number": lambda data, rng: b'{"instruction": ' + b"9" * 10_000 + b"}",
    "NaN": lambda data, rng: b'{"instruction": NaN, "output": Infinity}',
    "wrong types": lambda data, rng: b'{"instruction": ["a"], "input": 3, "output": {"x": null}}',
    "duplicate keys": lambda data, rng: b'{"instruction": "a", "instruction": "b", "output": "c"}',
    "duplicate ids": lambda data, rng: (
        b'{"id": "x", "instruction": "a b c", "instances": [{"input": "", "output": "y"}]}\n' * 2
    ),
    "YAML bomb": lambda data, rng: BOMB.encode(),
    "YAML object": lambda data, rng: b"name: !!python/object/apply:os.system ['true']",
    "YAML tab": lambda data, rng: b"name: x\n\tmodels: y\n",
    "YAML self": lambda data, rng: b"name: &a [*a]\nmodels: *a\n",
    "path trick": lambda data, rng: data.replace(b"seeds.jsonl", b"../../../../etc/passwd").replace(
        b"Name a", b"../.."
    ),
    "other keys": lambda data, rng: data.replace(b"instruction", b"instructoin").replace(b"models", b"modles"),
    "noise": lambda data, rng: rng.randbytes(300),
    "one flipped": lambda data, rng: _flipped(data, rng),
    "other format": lambda data, rng: b"PK\x03\x04" + data,
    "long line": lambda data, rng: b'{"instruction": "' + b"x" * (17 * 2**20) + b'"}',
    "100 MB line": lambda data, rng: b'{"instruction": "' + b"x" * 100_000_000 + b'"}',
    "controls": _anywhere(b"\x1b[2J\x07\xe2\x80\xae"),
    "arrays": lambda data, rng: b"[1, 2, [3], null]",
}


def _flipped(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def corpus(rng: Random) -> Iterator[tuple[str, str, bytes]]:
    """(kind of file, kind of harm, bytes): every sound file with every harm, twice."""
    for name, text in SOUND.items():
        for harm, spoil in HARMS.items():
            for _ in range(2):
                yield name, harm, spoil(text.encode(), rng)


READERS: dict[str, Callable[[Path], object]] = {
    "rows.jsonl": read_instances, "rows.json": read_instances, "talk.jsonl": read_instances,
    "recipe.yaml": load_recipe, "models.yaml": lambda path: load_catalog(path.parent),
}  # fmt: skip


def bad_files(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Each file is read, or refused with its name and no traceback; every tenth also by the whole program, with exit 2."""
    wrong = []
    for number, (name, harm, data) in enumerate(islice(corpus(rng), count)):
        path = folder / name
        path.write_bytes(data)
        wrong += [f"{name} with {harm}: {problem}" for problem in _read(path)]
        if number % 10 == 0:
            wrong += [f"{name} with {harm}: {problem}" for problem in _whole_program(folder / "whole", name, data)]
        tick(number + 1)
    return wrong


def _read(path: Path) -> list[str]:
    try:
        READERS[path.name](path)
    except LocalInstructError as error:
        return (
            []
            if path.name in error.message and error.exit_code == 2
            else [f"its name is not in: {error.message[:200]}"]
        )
    except Exception as error:  # whatever it is, it is the finding
        return [f"{type(error).__name__}: {str(error)[:200]}"]
    return []


def _whole_program(folder: Path, name: str, data: bytes) -> list[str]:
    """`generate` with this file in its place."""
    workspace(folder, target=3)
    place = {"recipe.yaml": "recipe.yaml", "models.yaml": "models.yaml"}.get(name, "seeds.jsonl")
    (folder / place).write_bytes(data)
    outcome = run(folder, ["generate", "recipe.yaml", "--fresh"])
    sound = outcome.clean and outcome.code in (0, 2, 3, 5)
    return [] if sound else [f"exit {outcome.code} of the program: {outcome.said[-300:]}"]


def fuzz(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """`count` spoiled texts through the parsers: rows, recipes, models.yaml, and the teacher's lists with their filters."""
    wrong: list[str] = []
    sound = [numbered_list(Random(n)) for n in range(20)]
    rows = [SEEDS.encode(), SOUND["rows.json"].encode(), SOUND["talk.jsonl"].encode()]
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


def _fuzz_file(folder: Path, rng: Random, number: int, rows: list[bytes]) -> None:
    kind = number // 50 % 5
    name = ("rows.jsonl", "rows.json", "talk.jsonl", "recipe.yaml", "models.yaml")[kind]
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
