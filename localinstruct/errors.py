"""Errors that localinstruct raises on purpose, and their exit codes.

    LocalInstructError
    ├── UsageError          2   a command, option or file the person can mend
    │   ├── RecipeError     2   recipe or models.yaml: every problem listed at once
    │   ├── DataError       2   seeds or rows: every bad line named by file and line
    │   ├── RunConflict     2   the run directory holds something else than was asked for
    │   └── BundleError     2   a bundle that cannot be packed, or is damaged, incomplete or refused
    ├── ModelError          3   a model that is missing, incomplete or unsafe
    ├── TeacherError        4   the teacher is gone for good
    ├── TrainerError        4   training or evaluation failed
    ├── NothingNew          5   the teacher repeats itself: generation stopped by its own rule
    ├── SealError           6   --sealed was asked for and cannot be had here (offline/seal.py)
    ├── DoesNotFit          7   `fit`: the recipe needs more than the machine has
    ├── StoreError         74   the disk refuses, or the store is damaged; what was kept is kept
    ├── RunInUse           75   another process writes to this run
    └── Interrupted       130   Ctrl-C or SIGTERM, after everything kept was committed

A teacher's text never raises: an unusable completion is a `records.Reject` with a reason. Every
error says what was expected and what was found (`message`) and what to type next (`hint`);
`cli.main` is the only place that renders them.
"""

import errno

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Error numbers of a disk that takes no write anywhere: a StoreError, not wrong usage."""


class LocalInstructError(Exception):
    """Base of all errors shown to a person without a traceback.

    `message` may have several lines; `hint` is the next thing to type or do, and may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(LocalInstructError):
    """Wrong command, option, path or file content."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe or models.yaml that cannot be used; the message lists every problem."""


class DataError(UsageError):
    """Seeds or rows that cannot be read; the message lists every bad line as file:line."""


class RunConflict(UsageError):
    """The run directory belongs to another recipe, or to another version's store."""


class BundleError(UsageError):
    """A bundle that cannot be packed, or is damaged, incomplete, altered or refused."""


class ModelError(LocalInstructError):
    """A model directory that is missing, incomplete, altered or unsafe."""

    exit_code = 3


class TeacherError(LocalInstructError):
    """The teacher cannot be started, or died more often than the restarts allow."""

    exit_code = 4


class TrainerError(LocalInstructError):
    """Training or evaluation failed for a reason that repeating will not cure."""

    exit_code = 4


class NothingNew(LocalInstructError):
    """Generation stopped below its target because new rows no longer come."""

    exit_code = 5


class DoesNotFit(LocalInstructError):
    """A recipe needs more memory or disk than a machine has."""

    exit_code = 7


class StoreError(LocalInstructError):
    """The disk is full, read-only or failing, or a store is not as it was written."""

    exit_code = 74


class RunInUse(LocalInstructError):
    """Another process holds the lock of this run."""

    exit_code = 75


class Interrupted(LocalInstructError):
    """A person or the system asked to stop; what was kept is committed."""

    exit_code = 130
