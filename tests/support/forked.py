"""Trainings of several processes without the libraries' imports in each: `python -m
tests.support.forked JOBS`.

JOBS is a JSON file: a list of [run, student, recipe's values, processes]. One process imports the
libraries once, and each training's processes are forks of it, one training after the other. What is
left out is what `processes` does, starting and watching them, which has tests of its own.
"""

import json
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

Job = tuple[str, str, dict[str, Any], int]


def train(jobs: list[Job]) -> None:
    """Train them all; SystemExit with the first one that fails."""
    import accelerate  # noqa: F401
    import peft  # noqa: F401
    import torch
    import torch.distributed.checkpoint.state_dict
    import torch.distributed.fsdp
    import transformers  # noqa: F401
    import trl.trainer.sft_trainer  # noqa: F401

    torch.set_num_threads(1)
    for home, student, values, count in jobs:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        children = [fork(home, student, values, rank, count, port) for rank in range(count)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        if any(codes):
            raise SystemExit(f"{home}: processes ended with {codes}")


def fork(home: str, student: str, values: dict[str, Any], rank: int, count: int, port: int) -> int:
    """The pid of a process that trains as this rank."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if count > 1:
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "LOCAL_WORLD_SIZE": str(count),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
        from localinstruct.recipe import Recipe
        from localinstruct.training import sharding, stage
        from tests.support.tiny_student import Recorded

        progress, weights, shared = Recorded(), sharding.whole_weights, list[bool]()

        def seen(model: Any) -> Any:
            found = weights(model)
            shared.append(found is not None)
            return found

        sharding.whole_weights = seen
        result = stage.train_in_this_process(
            Recipe.model_validate(values), Path(home), progress, Path(student), None
        )
        if rank == 0:
            facts = {"result": result, "said": progress.said, "in_parts": any(shared)}
            Path(home, "forked.json").write_text(json.dumps(facts))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    train(json.loads(Path(sys.argv[1]).read_text()))
