"""Rows of files, one after another, with what was left out, repaired and not read.

A file, a folder, or a pattern of names (data/*.jsonl). A row that cannot be used is skipped and
counted, or stops the reading after all of them are known; more than half of such rows stop it in
any case, with a guess at the layout. Nothing of a file is kept in memory but the rejects.
"""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import TypeVar

from localinstruct.config import nearby
from localinstruct.errors import DataError
from localinstruct.formats.encodings import likely_encoding
from localinstruct.formats.fields import REPAIRS, Malformed, Reading, Row, describe
from localinstruct.formats.rows import guess, instances_of
from localinstruct.formats.sources import Limits, opened, say
from localinstruct.formats.turns import is_conversation
from localinstruct.records import Instance, JsonObject, Reject

SHOWN_PROBLEMS = 20
MAX_LINE_BYTES = 64 * 2**20
"""Bytes of a line, or of an element of a list, at most."""
EARLY_ROWS = 2_000
"""Rows after which a file of mostly bad rows is not read on."""
ENDINGS = (".jsonl", ".json", ".ndjson", ".parquet", ".arrow", ".csv", ".tsv")
PACKED = (".gz", ".zst", ".bz2", ".xz")
_NO_ROWS = ("dataset_info.json", "dataset_dict.json", "dataset_infos.json", "state.json")
_OTHER_SPLITS = ("test", "valid", "dev", "eval")
STAGE = "read"

T = TypeVar("T")
STOP = Reading(on_bad_row="stop")


@dataclass(slots=True)
class Report:
    """Report of a reading: counts of rows, by name of what was done to them."""

    files: list[str] = field(default_factory=list)
    rows: int = 0
    taken: int = 0
    """Instances, of which a row may hold several."""
    rejects: list[Reject] = field(default_factory=list)
    repairs: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    """Key that nothing reads -> rows that have it."""
    notes: Counter[str] = field(default_factory=Counter)
    """What rows hold beside task and answer -> rows that hold it."""
    left_out: list[str] = field(default_factory=list)
    """Files of a folder that were not read."""

    def as_result(self) -> JsonObject:
        """The counts as plain values, for a stage's result."""
        return {
            "rows": self.rows,
            "skipped": dict(Counter(reject.reason for reject in self.rejects).most_common()),
            "repaired": dict(self.repairs.most_common()),
            "ignored_keys": dict(self.ignored.most_common(50)),
            "holds": dict(self.notes.most_common()),
        }

    def sentences(self) -> list[str]:
        """Sentences for people about what was read, repaired and left out."""
        skipped = Counter(reject.reason for reject in self.rejects)
        parts = [
            ("rows skipped", skipped),
            ("repaired", self.repairs),
            ("keys not read", self.ignored),
            ("rows with", self.notes),
        ]
        said = [f"{name}: {_counts(counts)}" for name, counts in parts if counts]
        if self.left_out:
            names = ", ".join(self.left_out[:8])
            said.append(f"files left out (name one by itself to read it): {names}")
        return said


def _counts(counts: Counter[str]) -> str:
    shown = [f"{name} ({count:,})" for name, count in counts.most_common(SHOWN_PROBLEMS)]
    more = [f"{len(counts) - SHOWN_PROBLEMS} more"] if len(counts) > SHOWN_PROBLEMS else []
    return ", ".join(shown + more)


def read_instances(path: Path, first_instance_only: bool = False) -> list[Instance]:
    """All instances of a file in file order.

    DataError names every bad line, or the reason why the file cannot be read. A Self-Instruct task
    with several instances becomes as many rows, or one with `first_instance_only` (as in Alpaca).
    """
    return list(Reader(path, STOP, first_instance_only=first_instance_only))


def read_rows(path: Path, convert: Callable[[object], list[T]]) -> list[T]:
    """All rows of a file as `convert` makes them, for kinds of row with keys of their own.

    `convert` raises Malformed for a bad row; DataError names every one of these.
    """
    reader = Reader(path, STOP)
    rows = list[T]()
    for line, value in reader.values():
        rows += reader.converted(line, value, convert)
    return rows


class Reader:
    """Instances of a file, a folder or a pattern, streamed; `report` is whole after the last one.

    `paste` is what to type with columns of one's own, with {columns} in their place. With
    `needs_answer`, as for rows to train on, a row without an answer is a bad one.
    """

    def __init__(
        self,
        path: Path,
        reading: Reading = STOP,
        *,
        first_instance_only: bool = False,
        needs_answer: bool = False,
        most_rows: int | None = None,
        paste: str = "columns: {columns} beside the path in the recipe",
    ) -> None:
        self.path, self.reading, self.report = path, reading, Report()
        self._first_only, self._needs_answer = first_instance_only, needs_answer
        self._most_rows, self._paste = most_rows, paste
        allowed = REPAIRS if reading.repairs is None else reading.repairs
        self._repairs = frozenset[str](allowed)
        self._bad = _Bad(path, reading.on_bad_row == "stop")

    def __iter__(self) -> Iterator[Instance]:
        """The instances in order; DataError at the end where bad rows stop the reading."""
        for _, _, _, rows in self.numbered():
            yield from rows

    def numbered(self) -> Iterator[tuple[str, int, tuple[str, ...], list[Instance]]]:
        """(file, line, names of the repairs made, its instances) of every row, in order."""
        for line, value in self.values():
            before = self.report.repairs.copy()
            rows = self.converted(line, value, self._instances)
            yield str(self._bad.file), line, tuple(self.report.repairs - before), rows

    def values(self) -> Iterator[tuple[int, object]]:
        """(line, value) of every row that can be parsed; DataError as `__iter__` raises it."""
        files, self.report.left_out = files_of(self.path)
        for file in files:
            self.report.files.append(str(file))
            self._bad.file = file
            try:
                with opened(file, self.reading, Limits(MAX_LINE_BYTES)) as values:
                    yield from self._good(values)
            except OSError as error:
                problem = f"{file}: cannot be read: {error.strerror or error}."
                raise DataError(problem) from None
            if self._full():
                return
        self._bad.raise_if_stopped(self.report, self._paste)
        if not self.report.rows:
            raise DataError(
                f"{self.path}: expected at least one row, found none.",
                "Give a file with rows: JSON Lines, JSON, CSV, TSV, Parquet or Arrow.",
            )

    def _good(self, values: Iterator[tuple[int, object]]) -> Iterator[tuple[int, object]]:
        for line, value in values:
            self.report.rows += 1
            if isinstance(value, Malformed):
                self._reject(line, value, b"")
            else:
                yield line, value
            if self.report.rows == EARLY_ROWS:
                self._bad.raise_if_most(self.report, self._paste)
            if self._full():
                self._bad.raise_if_stopped(self.report, self._paste)
                return

    def _full(self) -> bool:
        return self._most_rows is not None and self.report.rows >= self._most_rows

    def converted(self, line: int, value: object, convert: Callable[[object], list[T]]) -> list[T]:
        """A value as rows; a bad one is remembered and gives none."""
        try:
            rows = convert(value)
        except Malformed as problem:
            self._reject(line, problem, value)
            return []
        self.report.taken += len(rows)
        return rows

    def _instances(self, value: object) -> list[Instance]:
        if is_conversation(value):
            value = {"messages": value}
        if not isinstance(value, dict):
            raise Malformed(f"expected an object, found {describe(value)}", reason="no object")
        row = Row(value, self._repairs, self._needs_answer)
        instances = instances_of(row, self.reading.columns, self._first_only)
        self.report.repairs.update(row.repaired)
        self.report.notes.update(row.notes)
        self.report.ignored.update(row.unused())
        self._bad.look(instances)
        return instances

    def _reject(self, line: int, problem: Malformed, value: object) -> None:
        self._bad.add(line, problem, value)
        if problem.final and self.reading.on_bad_row == "skip":
            text = f"{self._bad.file}:{line}: {problem}"
            raise DataError(text, "The file cannot be read on from here: mend it, or cut it off.")
        text = value if isinstance(value, str) else _in_short(value)
        where = f"{self._bad.file}:{line}: {problem}"
        self.report.rejects.append(
            Reject(STAGE, problem.reason, _storable(text[:300] if value else ""), where)
        )


def _in_short(value: object) -> str:
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except (RecursionError, ValueError):
        return "a value that is nested deep"


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def files_of(path: Path) -> tuple[list[Path], list[str]]:
    """(files of rows at a path or pattern, files that are there and are not read)."""
    if path.is_file():
        return [path], []
    if path.is_dir():
        return _folder(path)
    if path.exists():
        problem = f"{path}: expected a file, found a pipe or device."
        raise DataError(problem, nearby(path / "any.jsonl"))
    if glob_files := _matching(path):
        return glob_files, []
    raise DataError(f"{path}: no such file.", nearby(path))


def _matching(path: Path) -> list[Path]:
    """Files that a pattern names; [] for a path without * and ?."""
    if not any(mark in str(path) for mark in "*?["):
        return []
    names = sorted(glob(str(path), recursive=True))  # noqa: PTH207  (Path.glob wants a base)
    return [Path(name) for name in names if Path(name).is_file()]


def _folder(folder: Path) -> tuple[list[Path], list[str]]:
    """Files of rows below a folder; other splits than the training rows are left out."""
    found, left_out = list[Path](), list[str]()
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        hidden = any(part.startswith((".", "_")) for part in inside.parts)
        if hidden or not file.is_file() or file.name in _NO_ROWS or not _has_ending(file):
            continue
        if any(part.lower().startswith(_OTHER_SPLITS) for part in inside.parts):
            left_out.append(str(inside))
        elif not (file.suffix == ".arrow" and file.name.startswith("cache-")):
            found.append(file)
    if not found:
        other = f" ({', '.join(left_out[:4])} left out)" if left_out else ""
        raise DataError(
            f"{folder}: expected a folder with files of rows, found none{other}.",
            f"Files that are read end in {', '.join(ENDINGS)}, also with {', '.join(PACKED)}.",
        )
    return found, left_out


def _has_ending(file: Path) -> bool:
    name = file.name.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return name.endswith(ENDINGS)


class _Bad:
    """Bad rows so far: the first of them in words, and what they tell about the file."""

    def __init__(self, path: Path, stops: bool) -> None:
        self.path, self.file, self._stops = path, path, stops
        self.shown: list[str] = []
        self.count = 0
        self._reasons = Counter[str]()
        self._sample = b""
        self._unknown: JsonObject | None = None
        self._good_letters = False

    def add(self, line: int, problem: Malformed, value: object) -> None:
        """Remember a bad row."""
        self.count += 1
        self._reasons[problem.reason] += 1
        self._sample += problem.sample if len(self._sample) < 2**16 else b""
        layout = problem.reason in ("unknown layout", "a key is missing", "a column is missing")
        if layout and self._unknown is None and isinstance(value, dict):
            self._unknown = value
        if self.count <= SHOWN_PROBLEMS:
            self.shown.append(f"{self.file}:{line}: {problem}")

    def look(self, rows: list[Instance]) -> None:
        """Remember that letters beyond ASCII could be read."""
        if not self._good_letters:
            texts = (text for row in rows for text in (row.instruction, row.input, row.output))
            self._good_letters = not all(text.isascii() for text in texts)

    def raise_if_stopped(self, report: Report, paste: str) -> None:
        """DataError where a bad row stops the reading, and where most are bad."""
        if self._stops and self.count:
            title = "1 bad row" if self.count == 1 else f"{self.count} bad rows"
            hint = self._guess(paste) or "Correct or remove these lines; docs: seeds/README.md."
            raise DataError(f"{title}, nothing was loaded\n{self._lines()}", hint)
        self.raise_if_most(report, paste)
        if self._reasons["not UTF-8"] >= 3 and not self._good_letters:
            bad = self._reasons["not UTF-8"]
            problem = f"{self.path}: {bad} rows are not UTF-8, and no letter beyond ASCII is."
            raise DataError(problem, self._guess(paste))

    def raise_if_most(self, report: Report, paste: str) -> None:
        """DataError where more than half of the rows are bad."""
        if 2 * self.count <= report.rows:
            return
        counts = _counts(self._reasons)
        hint = self._guess(paste) or "Docs: docs/formats.md, the table of layouts."
        problem = f"{self.path}: {self.count:,} of {report.rows:,} rows cannot be used: {counts}."
        raise DataError(f"{problem}\n{self._lines(3)}", hint)

    def _lines(self, most: int = SHOWN_PROBLEMS) -> str:
        lines = "\n".join(f"  {line}" for line in self.shown[:most])
        more = self.count - min(most, len(self.shown))
        return lines + (f"\n  … and {more} more" if more else "")

    def _guess(self, paste: str) -> str:
        """Advice, as far as the bad rows show it."""
        if self._sample and (encoding := likely_encoding(self._sample)):
            return f"It looks like {encoding}. {say(encoding)}"
        columns = guess(self._unknown) if self._unknown else ""
        if not columns:
            return ""
        mapping = "{" + columns.replace("=", ": ").replace(",", ", ") + "}"
        given = shlex.quote(columns) if "--columns" in paste else mapping
        return f"Name its columns, perhaps: {paste.replace('{columns}', given)}"
