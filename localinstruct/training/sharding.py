"""A model in parts on several devices (FSDP2): its weights and checkpoints, whole.

accelerate and TRL share the weights out (Zhao et al. 2023, arXiv 2304.11277); here they are put
together to be written. A checkpoint has the files of a training in one process, whatever the number
that wrote it, so that any number can go on from it (transformers' own under FSDP can be read by
FSDP alone). Not covered: checkpoints of models that no process can hold whole in its memory.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.records import JsonObject

if TYPE_CHECKING:
    from accelerate.state import AcceleratorState
    from peft import PeftModel
    from torch import Tensor
    from torch.optim import Optimizer
    from torch.utils.data import DataLoader
    from transformers import PreTrainedModel, Trainer

OPTIMIZER, SCHEDULER = "optimizer.pt", "scheduler.pt"
"""transformers' names of their files in a checkpoint."""


def whole_weights(model: "PreTrainedModel | PeftModel | None") -> "dict[str, Tensor] | None":
    """Learnt weights of a model in parts, on the CPU of the first process; {} in the others.

    Every process must ask at the same moment. None for a model that each process holds whole.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(model, FSDPModule):
        return None
    adapter = hasattr(model, "peft_config")
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=adapter)
    weights: dict[str, Tensor] = get_model_state_dict(model, options=options)
    for name in getattr(model, "all_tied_weights_keys", None) or {}:
        weights.pop(name, None)  # it is another one's
    return weights


def whole_checkpoints(base: "type[Trainer]") -> "type[Trainer]":
    """`base` whose checkpoints are those of one process, written and read by models in parts."""
    import torch

    class Whole(_in_parts(base)):  # type: ignore[misc, valid-type]
        """Trainer of a model in parts, whose files are those of a whole one."""

        def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
            """Write the learnt weights as `base` does for a model that is not in parts."""
            weights = whole_weights(self.model)
            if self.args.should_save:
                self._save(output_dir or self.args.output_dir, state_dict=weights)

        def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
            state = _whole_optimizer(self.optimizer)
            if self.args.should_save:
                torch.save(state, Path(output_dir, OPTIMIZER))
                torch.save(self.lr_scheduler.state_dict(), Path(output_dir, SCHEDULER))

        def _load_optimizer_and_scheduler(self, checkpoint: str) -> None:
            state = torch.load(Path(checkpoint, OPTIMIZER), map_location="cpu", weights_only=True)
            _load_optimizer(self.optimizer, state)
            path = Path(checkpoint, SCHEDULER)
            self.lr_scheduler.load_state_dict(torch.load(path, weights_only=True))

    return Whole


def _in_parts(base: "type[Trainer]") -> "type[Trainer]":
    """`base` that shares models out on a CPU too, and reads a checkpoint's weights before it."""

    class Parts(base):  # type: ignore[misc, valid-type]
        """Trainer of a model in parts."""

        is_fsdp_enabled: bool

        def create_accelerator_and_postprocess(self) -> None:
            """Have accelerate share out models on a CPU too, where it takes DDP unasked."""
            super().create_accelerator_and_postprocess()
            if not self.is_fsdp_enabled:
                _share_out(self.accelerator.state, self.args.fsdp_plugin_args)
                self.is_fsdp_enabled = True

        def _prepare_for_training(
            self, max_steps: int, train_dataloader: "DataLoader", resume_from_checkpoint: str | None
        ) -> object:
            if resume_from_checkpoint:
                self.is_fsdp_enabled = False
                self._load_from_checkpoint(resume_from_checkpoint)
                self.is_fsdp_enabled = True
            return super()._prepare_for_training(
                max_steps, train_dataloader, resume_from_checkpoint
            )

        def _load_from_checkpoint(
            self, resume_from_checkpoint: str, model: "PreTrainedModel | None" = None
        ) -> None:
            if not self.is_fsdp_enabled:  # once it is shared out, they have been read
                super()._load_from_checkpoint(resume_from_checkpoint, model)

    return Parts


def _share_out(state: "AcceleratorState", options: JsonObject) -> None:
    """Set FSDP2 where accelerate has passed it over: it does so on CPUs (1.15, state.py)."""
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    state.distributed_type = DistributedType.FSDP
    state.fsdp_plugin = FullyShardedDataParallelPlugin(**options)


def _whole_optimizer(optimizer: "Optimizer") -> JsonObject:
    """The state of an optimizer of weights in parts, as one of whole weights has it."""
    state = optimizer.state_dict()
    state["state"] = {  # new mappings: the optimizer works with the old ones
        number: {name: _whole(value) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return state


def _load_optimizer(optimizer: "Optimizer", state: JsonObject) -> None:
    """Give an optimizer of weights in parts the state that one of whole weights had."""
    weights = [one for group in optimizer.param_groups for one in group["params"]]
    for number, values in state["state"].items():
        values.update({name: _part(value, weights[number]) for name, value in values.items()})
    optimizer.load_state_dict(state)


def _whole(value: "Tensor") -> "Tensor":
    """A tensor put together from its parts in all processes, on the CPU."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def _part(value: "Tensor", like: "Tensor") -> "Tensor":
    """Part that a process has of a whole tensor, shared out as the weight `like` is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    place = like.device_mesh
    return distribute_tensor(value.to(like.device), place, like.placements, src_data_rank=None)
