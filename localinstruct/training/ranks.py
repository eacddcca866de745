"""The rank of this process among those that train together, and votes of all of them.

accelerate reads the same environment variables (RANK, WORLD_SIZE) and does the rest (DDP, FSDP). A
training in one process is the first of one. Not covered: several machines.
"""

import os


def rank() -> int:
    """The number of this process among those that train together, from 0."""
    return int(os.environ.get("RANK", "0"))


def first() -> bool:
    """Tell whether this process writes files and shows progress."""
    return rank() == 0


def count() -> int:
    """The number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def any_of(mine: bool, device: str) -> bool:
    """Tell whether any process says yes; every process must ask at the same moment."""
    if count() == 1:
        return mine
    import torch
    from torch import distributed

    votes = torch.tensor([int(mine)], device=device)
    distributed.all_reduce(votes, op=distributed.ReduceOp.MAX)
    return bool(votes.item())


def wait() -> None:
    """Wait for all processes."""
    if count() > 1:
        from torch import distributed

        if distributed.is_initialized():
            distributed.barrier()
