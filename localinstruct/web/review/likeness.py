"""Likeness of a row that a person wrote, looked at beside the page by a process of its own.

The encoder takes seconds to load and more memory than a page may have, so it does not live in the
page. The process starts with the first row to compare, asks the run what people have decided, and
answers as the data set will: seeds, rows that stay as they are, and rows that people wrote before.
It ends with the page, or after some minutes without work. Not covered: of two rows that people
wrote and that are alike the page names the one it was asked of; the data set keeps the first one of
its own order.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING

from localinstruct.curate.novelty import Novelty
from localinstruct.dataset import reviewed
from localinstruct.dataset.review_gate import (
    Encode,
    Likeness,
    ReviewGate,
    confirmed,
    encoder_of,
    is_new_text,
    objections,
    rules_of,
)
from localinstruct.errors import LocalInstructError
from localinstruct.interrupt import reset_signals
from localinstruct.offline.switches import child_environment
from localinstruct.pipeline import recipe_of
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, JsonObject, Neighbour, Reject
from localinstruct.store.reviews import Reviewed
from localinstruct.store.run import read_run
from localinstruct.supervisor import die_with_parent, line_child

if TYPE_CHECKING:
    import numpy as np

IDLE_SECONDS = 300.0
"""Seconds without work after which the process ends, and gives its memory back."""
COMMAND = ("-c", f"from {__name__} import main; main()")
Ask = Callable[[str, Sequence[str]], JsonObject]
"""Key of a row, keys whose decisions this person may not see -> what comparing gives."""


@dataclass
class Looked:
    """One row that is or was compared, as it was written; `done` is set when the rest is known."""

    edited: dict[str, str]
    last: int
    """Number of the last decision of all when it was asked."""
    done: Event = field(default_factory=Event)
    near: list[Neighbour] = field(default_factory=list)
    reject: Reject | None = None
    problem: str = ""
    """Why nothing was compared, and what to type."""

    def take(self, answer: JsonObject) -> None:
        """Take in what comparing gave."""
        self.near = [Neighbour(**one) for one in answer.get("near", ())]
        self.reject = Reject(**answer["reject"]) if answer.get("reject") else None
        self.problem = str(answer.get("problem", ""))
        self.done.set()


class Comparing:
    """Rows that people wrote, compared one after the other while the page goes on."""

    def __init__(self, novelty: Novelty, ask: Ask) -> None:
        self.novelty, self._ask = novelty, ask
        self._looked = dict[str, Looked]()
        self._waiting: SimpleQueue[tuple[str, Looked, list[str]]] = SimpleQueue()
        self._thread: Thread | None = None
        self._news: SimpleQueue[str] = SimpleQueue()

    def looked(self, one: Reviewed) -> Looked | None:
        """What is known, or will be, of a row as it stands; None where nothing was begun."""
        found = self._looked.get(one.key)
        return found if found and found.edited == one.review.edited else None

    def begin(self, one: Reviewed, hidden: Collection[str], last: int) -> Looked | None:
        """Compare a row as it stands, unless that is done or begun; None where nothing is new.

        One that was like another is compared again after further decisions: the other may be gone.
        """
        if not reviewed.is_written(one):
            return None
        row, before = reviewed.written(one), reviewed.before(one)
        if not is_new_text(row, before, one, self.novelty):
            return None
        known = self.looked(one)
        if known and not (known.done.is_set() and known.reject and known.last < last):
            return known
        made = self._looked[one.key] = Looked(dict(one.review.edited), last)
        self._waiting.put((one.key, made, sorted(hidden)))
        if self._thread is None:
            self._thread = Thread(target=self._work, daemon=True)
            self._thread.start()
        return made

    def news(self) -> Iterator[str]:
        """Keys of rows whose comparison has ended since the last time."""
        while not self._news.empty():
            yield self._news.get()

    def _work(self) -> None:
        while True:
            key, looked, hidden = self._waiting.get()
            if self._looked.get(key) is looked:  # else it was written anew meanwhile
                looked.take(self._ask(key, hidden))
                self._news.put(key)


@dataclass
class Process:
    """The process that compares, while there is one."""

    run: Path
    idle_seconds: float = IDLE_SECONDS
    _process: "subprocess.Popen[str] | None" = None

    def __call__(self, key: str, hidden: Sequence[str]) -> JsonObject:
        """What comparing a row gives; a process that ended meanwhile is started again, once."""
        for _ in range(2):
            process = self._process = self._process or self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps({"key": key, "hidden": list(hidden)}) + "\n")
                process.stdin.flush()
            line = process.stdout.readline()
            if line.endswith("\n"):
                answer: JsonObject = json.loads(line)
                return answer
            self.end()
        return {"problem": "The process that compares rows ended twice without an answer."}

    def end(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            with suppress(BrokenPipeError):
                process.communicate()

    def _started(self) -> "subprocess.Popen[str]":
        words = [*COMMAND, str(self.run), str(self.idle_seconds), str(os.getpid())]
        # Ctrl-C is meant for the page, which ends it
        return line_child(words, child_environment(), own_session=True)


class Comparer:
    """In the process: compares rows of one run; a text is encoded once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._vectors: dict[str, np.ndarray] = {}
        self._encode: Encode | None = None

    def __call__(self, key: str, hidden: Collection[str]) -> JsonObject:
        """The nearest rows and the reject of a row that a person wrote, or the problem."""
        try:
            return self._compared(key, hidden)
        except LocalInstructError as error:
            return {"problem": _in_words(error)}
        except Exception as error:
            return {"problem": f"Comparing failed ({type(error).__name__}: {str(error)[:200]})."}

    def _compared(self, key: str, hidden: Collection[str]) -> JsonObject:
        every = reviewed.decisions(self._path)
        decided = {name: one for name, one in every.items() if name not in hidden}
        one = decided.get(key)
        if one is None or not reviewed.is_written(one):
            return {}  # taken back meanwhile
        with read_run(self._path) as run:
            recipe, workspace = recipe_of(run)
            rules = rules_of(run) or recipe.filters
            likeness = Likeness(recipe, run, workspace, decided, Silent(), self._remembering)
            gate, key_of = ReviewGate(rules, likeness), dict[str, str]()
            for other in decided.values():
                if other.key != key and reviewed.is_written(other):
                    kept = gate(reviewed.written(other), other, reviewed.before(other))
                    key_of |= {kept.id: other.key} if isinstance(kept, Instance) else {}
            row, _ = objections(reviewed.written(one), rules, confirmed(one))
            compared = likeness.compared(row)
        if compared is None:
            return {"problem": _in_words(likeness.problem) if likeness.problem else ""}
        near = [{**asdict(one), "id": key_of.get(one.id, one.id)} for one in compared.near]
        return {"near": near, "reject": asdict(compared.reject) if compared.reject else None}

    def _remembering(self, recipe: Recipe, workspace: Path) -> Encode:
        """The encoder, loaded once; it is asked of texts that it has not seen."""
        self._encode = encode = self._encode or encoder_of(recipe, workspace)
        vectors = self._vectors

        def known(texts: Sequence[str]) -> "np.ndarray":
            import numpy as np

            new = list(dict.fromkeys(text for text in texts if text not in vectors))
            if new:
                vectors.update(zip(new, encode(new), strict=True))
            return np.stack([vectors[text] for text in texts])

        return known


def _in_words(error: LocalInstructError) -> str:
    return f"{error.message} {error.hint or ''}".strip()


@contextmanager
def comparing_beside(run: Path, novelty: Novelty) -> Iterator[Comparing]:
    """Comparing of rows of a run, whose process ends with the block."""
    process = Process(run)
    try:
        yield Comparing(novelty, process)
    finally:
        process.end()


def main() -> None:
    """The process: a line for each line that comes, until no more come or none for long."""
    path, idle_seconds, parent = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    reset_signals()
    die_with_parent(parent=parent)
    os.nice(10)  # the page and a run at work go first
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    compare = Comparer(path)
    while select.select([sys.stdin], [], [], idle_seconds)[0]:
        line = sys.stdin.readline()
        if not line:
            return
        asked = json.loads(line)
        answers.write(json.dumps(compare(asked["key"], asked["hidden"])) + "\n")
        answers.flush()
