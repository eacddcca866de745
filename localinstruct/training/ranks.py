"""One training in several processes: who am I, and do we agree? With one process: the first of one,
and yes.

accelerate reads the same environment variables and does the rest (DDP, FSDP). Not covered: several
machines.
"""

import os


def rank() -> int:
    """The number of this process among those that train together, from 0."""
    return int(os.environ.get("RANK", "0"))


def first() -> bool:
    """Whether this process writes files and speaks."""
    return rank() == 0


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def any_of(mine: bool, device: str) -> bool:
    """Whether any process says yes; every process must ask at the same moment."""
    if count() == 1:
        return mine
    import torch
    from torch import distributed

    said = torch.tensor([int(mine)], device=device)
    distributed.all_reduce(said, op=distributed.ReduceOp.MAX)
    return bool(said.item())


def wait() -> None:
    """Wait for all processes."""
    if count() > 1:
        from torch import distributed

        if distributed.is_initialized():
            distributed.barrier()
