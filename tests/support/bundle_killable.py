"""Packing, checking and importing in a process that is killed at a chosen moment: `python -m
tests.support.bundle_killable`.

One line of JSON per job on stdin: {"work": "pack" | "verify" | "import", "here": workspace to pack,
"bundle": folder, "there": folder, "cache": folder, "kill_at": n}. Each job runs in a fork of its
own (imports are paid once). Moments are counted by an audit hook (open, rename, mkdir, remove,
truncate, listing, below the job's folders), at every fsync, before and after, and at every mebibyte
or less that is read or written; at the n-th the process sends itself SIGKILL. With kill_at 0
nothing is killed. The answer is one line: {"status": wait status, "moments": how many there were,
"opened": names of the parts that were opened in the bundle}.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localinstruct.bundle.pack import pack
from localinstruct.bundle.unpack import import_bundle
from localinstruct.bundle.verify import verify
from localinstruct.progress import Silent
from tests.support.bundle_samples import PART, contents

EVENTS = (
    "open",
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.truncate",
    "os.listdir",
    "os.scandir",
    "shutil.rmtree",
)


class Moments(Silent):
    """Counts moments and kills at one of them; as a Progress, it counts every chunk too."""

    def __init__(self, folders: list[str], kill_at: int) -> None:
        self.count, self._folders, self._kill_at = 0, tuple(folders), kill_at
        self.opened: set[str] = set()

    def hit(self) -> None:
        self.count += 1
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        self.hit()

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and arguments and str(arguments[0]).startswith(self._folders):
            if event == "open" and str(arguments[0]).endswith(".bin"):
                self.opened.add(Path(arguments[0]).name)
            self.hit()


@contextlib.contextmanager
def counted(job: dict[str, Any]) -> Iterator[Moments]:
    """Count from here on, in this process, which ends with the job."""
    moments = Moments([job[key] for key in ("bundle", "there", "cache")], job["kill_at"])
    real = os.fsync

    def fsync(descriptor: int) -> None:
        moments.hit()
        real(descriptor)
        moments.hit()

    os.fsync = fsync  # type: ignore[assignment]
    sys.addaudithook(moments.audit)
    yield moments


def do(job: dict[str, Any]) -> Moments:
    """The job; what was counted."""
    os.environ["XDG_CACHE_HOME"] = job["cache"]
    bundle = Path(job["bundle"])
    if job["work"] == "pack":
        items = contents(Path(job["here"]))
        with counted(job) as moments:
            pack(items, bundle, moments, PART)
    elif job["work"] == "verify":
        with counted(job) as moments:
            assert verify(bundle, moments).exit_code == 0
    else:
        with counted(job) as moments:
            import_bundle(bundle, Path(job["there"]), moments)
    return moments


def main() -> None:
    for line in sys.stdin:
        job, (reader, writer) = json.loads(line), os.pipe()
        child = os.fork()
        if child == 0:
            done = do(job)
            os.write(
                writer, json.dumps({"moments": done.count, "opened": sorted(done.opened)}).encode()
            )
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        told = json.loads(os.read(reader, 4096) or b'{"moments": 0, "opened": []}')
        os.close(reader)
        print(json.dumps({"status": status, **told}), flush=True)


if __name__ == "__main__":
    main()
