"""The loss of a batch on a CPU: logits of the answer tokens alone, made at once.

TRL makes them tile by tile and makes each tile a second time going back, which saves a GPU's
memory; on a CPU that was a third of a small student's step. Where a batch's logits are small they
are therefore made plainly, by the model's own head, so that whatever a family does to its logits
still happens. The number is equal. Not covered: GPUs, losses of a mixture's router.
"""

from typing import TYPE_CHECKING

from localinstruct.templates import IGNORED

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

LOGITS_MIB = 16
"""Size of a batch's logits above which tiles are used: the memory would be felt."""


def is_small(model: "PreTrainedModel", labels: "Tensor") -> bool:
    """Tell whether the logits of this batch's answer tokens, float32, fit into LOGITS_MIB."""
    vocabulary = model.config.get_text_config().vocab_size
    return int((labels != IGNORED).sum()) * vocabulary * 4 <= LOGITS_MIB * 2**20


def summed(model: "PreTrainedModel", head: "Module", inputs: "dict[str, Tensor]") -> "Tensor":
    """Sum of the answer tokens' losses in nats; `head` is the layer that makes the logits."""
    from torch.nn.functional import cross_entropy

    others = {name: value for name, value in inputs.items() if name != "labels"}
    targets = inputs["labels"][:, 1:]  # (rows, width - 1): position t predicts token t + 1
    learnt = targets != IGNORED

    def only_learnt(_: "Module", hidden: "tuple[Tensor, ...]") -> "tuple[Tensor, ...]":
        return (hidden[0][:, :-1][learnt],)  # (answer tokens, hidden)

    hook = head.register_forward_pre_hook(only_learnt)
    try:
        logits = model(**others | {"use_cache": False}).logits  # (answer tokens, vocabulary)
    finally:
        hook.remove()
    return cross_entropy(logits.float(), targets[learnt], reduction="sum")
