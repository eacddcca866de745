"""A folder of documents: every file read and cut into passages, or named with a reason.

Links are not followed, so nothing outside the folder is read; names that begin with a dot are left
alone. Texts are put into Unicode's composed form (NFC), freed of unseen characters, and offsets
count letters of that text. A passage that stands in several files is taken once, from the first.
"""

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localinstruct.curate.invisible import clean
from localinstruct.documents.passages import passages
from localinstruct.documents.readers import READERS, TYPES
from localinstruct.documents.worker import SECONDS, Worker
from localinstruct.errors import DataError
from localinstruct.progress import Progress
from localinstruct.records import Instance, Lineage

MAX_FILE_MIB = 64
SHOWN = 20
"""Problems named in one message."""
MAX_LETTERS = 20_000_000
"""Letters of one document's text, at most: some 30 thick books."""
_WIDE = re.compile(r"[ \t]{40,}")
_LOOKS_LIKE = re.compile(r"; looks like (\S+) \(set documents\.encoding\)")
_TALL = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that gave no passage, by its path in the folder, and the reason."""

    source: str
    why: str


@dataclass(frozen=True, slots=True)
class Folder:
    """The contents of a folder of documents."""

    passages: list[Instance]
    """Passages as instances; `input` is the text."""
    read: int
    """Files that gave passages."""
    problems: list[Problem]
    """Files that gave none."""


def read_folder(
    folder: Path,
    words: int,
    shortest: int,
    progress: Progress,
    seconds: int = SECONDS,
    encoding: str | None = None,
) -> Folder:
    """All documents below `folder`, in the order of their paths.

    DataError when none of them can be used. `words` is the length of a passage, `shortest` its
    least (words); `seconds` is what one file may take, `encoding` that of texts which are not UTF-8
    and declare no other.
    """
    require_folder(folder)
    files, problems, by_id = sorted(_files(folder)), list[Problem](), dict[str, Instance]()
    read = 0
    with Worker(seconds, encoding=encoding) as worker:
        for number, path in enumerate(files, 1):
            source = path.relative_to(folder).as_posix()
            text, why = _text(path, worker)
            spans = passages(text, words, shortest)
            why = why or ("" if spans else f"fewer than {shortest} words of text in it")
            for start, end in spans:
                lineage = Lineage("document", source=source, offset=start)
                passage = Instance("", input=text[start:end], name=source, lineage=lineage)
                by_id.setdefault(passage.id, passage)
            read += not why
            problems += [Problem(source, why)] if why else []
            progress.update("documents", number, len(files), source)
    if not by_id:
        raise DataError(
            f"{folder}: no document that can be used among {len(files)} files.{_named(problems)}",
            _way_out(problems),
        )
    return Folder(list(by_id.values()), read, problems)


def require_folder(folder: Path) -> None:
    """DataError when there is no such folder; its contents are not looked at."""
    if not folder.is_dir():
        instead = "nothing" if not folder.exists() else "a file"
        raise DataError(
            f"{folder}: expected a folder of documents, found {instead}.",
            "Name one as seeds in the recipe.",
        )


def _way_out(problems: list[Problem]) -> str:
    found = Counter(match[1] for problem in problems if (match := _LOOKS_LIKE.search(problem.why)))
    if found:
        return f"Set the encoding: --set documents.encoding={found.most_common(1)[0][0]}"
    return f"Expected files of these types: {TYPES}."


def _named(problems: list[Problem]) -> str:
    return "".join(f"\n  - {problem.source}: {problem.why}" for problem in problems[:SHOWN])


def folder_summary(read: int, passages: int, left_out: list[tuple[str, str]]) -> str:
    """'190 read, 812 passages, 2 left out: a.pdf (encrypted), b.txt (empty)'.

    The first few that are left out are named.
    """
    named = ", ".join(f"{source} ({why})" for source, why in left_out[:SHOWN])
    more = f" and {len(left_out) - SHOWN:,} more" if len(left_out) > SHOWN else ""
    left = f", {len(left_out):,} left out: {named}{more}" if left_out else ""
    return f"{read:,} read, {passages:,} passages{left}"


def _files(folder: Path) -> Iterator[Path]:
    """Everything that is not a folder, and links to folders, which are not followed."""
    for here, folders, files in os.walk(folder):
        links = [name for name in folders if Path(here, name).is_symlink()]
        yield from (Path(here, name) for name in (*files, *links) if not name.startswith("."))
        folders[:] = [name for name in folders if not name.startswith(".")]


def _text(path: Path, worker: Worker) -> tuple[str, str]:
    """(normalised text, "") or ("", why there is none)."""
    if (why := _unfit(path)) is not None:
        return "", why
    answer = worker.read(path)
    text = answer.get("text", "")
    if "problem" in answer or len(text) > MAX_LETTERS:
        return "", answer.get("problem", f"{len(text):,} letters, expected at most {MAX_LETTERS:,}")
    text = normalised(text)
    if any(letter.isalpha() for letter in text):
        return text, ""
    return "", "no text in it" + (" (scanned pages?)" if path.suffix.lower() == ".pdf" else "")


def _unfit(path: Path) -> str | None:
    """The reason why a file is not even opened, or None."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return "a link, which is not followed"
    if not stat.S_ISREG(status.st_mode):
        return "not a file but a pipe or device"
    if path.suffix.lower() not in READERS:
        return f"not of a type that is read ({TYPES})"
    if status.st_size == 0:
        return "empty"
    size = status.st_size / 2**20
    return f"{size:,.0f} MiB, expected at most {MAX_FILE_MIB}" if size > MAX_FILE_MIB else None


def normalised(text: str) -> str:
    """The text with composed letters, nothing unseen, no blanks at line ends, no endless gaps."""
    text = _WIDE.sub(" " * 40, clean(unicodedata.normalize("NFC", text)).replace("\xa0", " "))
    return _TALL.sub("\n\n", "\n".join(line.rstrip() for line in text.split("\n"))).strip()
