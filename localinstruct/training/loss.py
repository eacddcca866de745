"""The loss of a batch on a CPU: logits of the answer tokens alone, made at once.

TRL makes them tile by tile and makes each tile a second time going back, which saves a GPU's
memory; on a CPU that was a third of a small student's step. Where a batch's logits are small they
are therefore made plainly, by the model's own head, so that whatever a family does to its logits
still happens. Same number. Not covered: GPUs, losses of a mixture's router.
"""

from typing import Any

from localinstruct.templates import IGNORED

LOGITS_MIB = 16
"""Above this the tiles are used: the memory would be felt."""


def is_small(model: Any, labels: Any) -> bool:
    """Whether the logits of this batch's answer tokens, float32, are few enough to be made at
    once."""
    vocabulary = model.config.get_text_config().vocab_size
    return int((labels != IGNORED).sum()) * vocabulary * 4 <= LOGITS_MIB * 2**20


def summed(model: Any, head: Any, inputs: dict[str, Any]) -> Any:
    """Sum of the answer tokens' losses in nats; `head` is the layer of `model` that makes logits of
    hidden states."""
    from torch.nn.functional import cross_entropy

    given = {name: value for name, value in inputs.items() if name != "labels"}
    targets = inputs["labels"][:, 1:]  # (rows, width - 1): position t predicts token t + 1
    learnt = targets != IGNORED

    def only_learnt(_: Any, hidden: tuple[Any, ...]) -> tuple[Any, ...]:
        return (hidden[0][:, :-1][learnt],)  # (answer tokens, hidden)

    hook = head.register_forward_pre_hook(only_learnt)
    try:
        logits = model(**given | {"use_cache": False}).logits  # (answer tokens, vocabulary)
    finally:
        hook.remove()
    return cross_entropy(logits.float(), targets[learnt], reduction="sum")
