"""A generate run of one method in a process of its own, to be killed: `python -m
tests.support.killable_methods RUN METHOD`."""

import sys
from pathlib import Path

from localinstruct.store.run import open_run
from tests.generation.test_methods_repeat import Anybody, play


def main(path: Path, method: str) -> None:
    with open_run(path) as run:
        print("begin", flush=True)
        play(run, method, Anybody(delay=0.03))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
