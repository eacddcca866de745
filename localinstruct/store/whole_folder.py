"""Folders written whole or not at all: beside their place, synced, renamed to it.

A kill leaves at most `.NAME.part`, which the next export to the same place removes. Not covered:
two exports to the same place at the same time.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localinstruct.errors import NO_ROOM, StoreError, UsageError
from localinstruct.machine import GIB, disk_free
from localinstruct.store.durable import rename_synced, sync_tree
from localinstruct.store.integrity import plain_words

SPARE_BYTES = 64 * 2**20
"""For tokenizer, configuration and whatever else is small."""


@contextmanager
def new_folder(output: Path, needed: int) -> Iterator[Path]:
    """Give an empty folder that becomes `output` when the block ends well, else leaves no trace.

    UsageError when something is at `output` already, or its parent is missing or may not be
    written; StoreError when fewer than `needed` bytes are free, or the disk fills up or fails on
    the way.
    """
    _refuse_place(output, needed + SPARE_BYTES)
    part = output.with_name(f".{output.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with plain_words(output, NO_ROOM):
            part.mkdir()
            yield part
            sync_tree(part)
            rename_synced(part, output)
    except OSError as error:
        raise UsageError(
            f"{output}: cannot be written: {error.strerror or error}.",
            f"df -h {output.parent}; ls -ld {output.parent}",
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _refuse_place(output: Path, needed: int) -> None:
    if output.exists() or output.is_symlink():
        raise UsageError(
            f"{output}: expected a new folder, found something of that name.",
            f"Choose another --output, or remove it first: rm -r {output}",
        )
    if not output.absolute().parent.is_dir():
        raise UsageError(
            f"{output}: the folder {output.parent} does not exist.", f"mkdir -p {output.parent}"
        )
    free = disk_free(output)
    if free < needed:
        raise StoreError(
            f"{output}: about {needed / GIB:.2f} GiB are needed there, {free / GIB:.2f} GiB are "
            "free.",
            f"Make room, or choose an --output on another disk: df -h {output.parent}",
        )
