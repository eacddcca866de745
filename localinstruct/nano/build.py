"""Build the nano models from nothing: tokenizer, trunk, from it student and teacher.

    tokenizer -> trunk (pages, full learning rate) -> student: pages
                                                   -> teacher: numbered lists

The learning rate of student and teacher falls to zero. The trunk is shared because both need the
same skills; only the formats differ. Seeded: on one machine the same seed gives the same models.
Not covered: bit-equal weights across machines, and training on more than one device.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Literal, Protocol

from localinstruct.nano.pages import corpus, page, task_list
from localinstruct.nano.train import Encode, Stage, Write, batches, train

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

Size = Literal["full", "micro"]
StageName = Literal["trunk", "student", "teacher"]
CONTEXT = 1024  # tokens
SPECIAL = ("<pad>", "<s>", "</s>")
# A word or number keeps the space after it: the last word of a question and the whole answer then
# look the same wherever they stand, which halves what a small model must learn to copy. A number
# keeps the point of a list item.
PIECES = r"\n|#+|<\w+>|\p{L}+ ?|\p{N}{1,3}(?:\. | )?|[.,?!;'\")] ?|[^\s\p{L}\p{N}]| +"


@dataclass(frozen=True, slots=True)
class Plan:
    """Size of the models and length of each stage."""

    vocabulary: int
    hidden: int
    layers: int
    inner: int
    stages: dict[StageName, Stage]
    """Stages in the order in which they are trained."""
    pages: int
    """Pages shown to the tokenizer; lists are a fifth of that."""


PLANS: dict[Size, Plan] = {
    "full": Plan(
        vocabulary=4096,
        hidden=256,
        layers=4,
        inner=512,
        pages=12000,
        stages={
            "trunk": Stage(2000, 16, 256),
            "student": Stage(250, 16, 256, warmup=1, decay=250),
            "teacher": Stage(1000, 5, 800, decay=500),
        },
    ),
    "micro": Plan(
        vocabulary=1024,
        hidden=64,
        layers=2,
        inner=128,
        pages=300,
        stages={
            "trunk": Stage(8, 4, 128, warmup=2),
            "student": Stage(4, 4, 128, warmup=1, decay=4),
            "teacher": Stage(4, 1, 900, warmup=1, decay=4),
        },
    ),
}


class Progress(Protocol):
    """Callback that shows how far the building is."""

    def __call__(
        self, step: int, total: int, loss: float, tokens_per_second: float, eta_seconds: float
    ) -> None:
        """Show that `step` of `total` is done."""


def build_nano(
    out_dir: Path, *, size: Size, seed: int, device: str = "cpu", progress: Progress | None = None
) -> None:
    """Train both models and save them to out_dir/teacher and out_dir/student."""
    import torch

    plan = PLANS[size]
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(plan, Random(f"{seed}:tokenizer"))
    trunk = new_model(plan, tokenizer).to(device)

    def run(model: "LlamaForCausalLM", name: StageName, write: Write) -> None:
        stage, rng = plan.stages[name], Random(f"{seed}:{name}")
        data = batches(encoder(tokenizer), tokenizer.eos_token_id, write, stage, rng)
        train(model, data, stage, whole_way(plan, name, progress))

    run(trunk, "trunk", page)
    student = copy.deepcopy(trunk)
    run(student, "student", page)
    save(student, tokenizer, out_dir / "student")
    run(trunk, "teacher", task_list)
    save(trunk, tokenizer, out_dir / "teacher")


def whole_way(
    plan: Plan, name: StageName, progress: Progress | None
) -> Callable[[int, float, float], None]:
    """Turn the progress of one stage into that of the whole plan."""
    order = list(plan.stages)
    stages = list(plan.stages.values())
    place, total = order.index(name), sum(stage.steps for stage in stages)
    before = sum(stage.steps for stage in stages[:place])

    def show(step: int, loss: float, tokens_per_second: float) -> None:
        stage = stages[place]
        left = (stage.steps - step) * stage.rows * stage.length
        left += sum(later.tokens for later in stages[place + 1 :])
        if progress is not None:
            progress(before + step, total, loss, tokens_per_second, left / tokens_per_second)

    return show


def train_tokenizer(plan: Plan, rng: Random) -> "PreTrainedTokenizerFast":
    """Train a byte-level BPE on the texts of the grammar.

    Small numbers and common words become one token.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=plan.vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    core.train_from_iterator(corpus(rng, plan.pages, plan.pages // 5), trainer)
    pad, bos, eos = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def encoder(tokenizer: "PreTrainedTokenizerFast") -> Encode:
    """The function that encodes many short texts at once."""
    core = tokenizer.backend_tokenizer

    def encode(texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in core.encode_batch(texts, add_special_tokens=False)]

    return encode


def new_model(plan: Plan, tokenizer: "PreTrainedTokenizerFast") -> "LlamaForCausalLM":
    """A small Llama with random weights; its heads are 64 wide for vLLM's CPU attention."""
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = max(1, plan.hidden // 64)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=plan.hidden,
            num_hidden_layers=plan.layers,
            intermediate_size=plan.inner,
            num_attention_heads=heads,
            num_key_value_heads=max(1, heads // 2),
            head_dim=64,
            tie_word_embeddings=True,
            max_position_embeddings=CONTEXT,
            rms_norm_eps=1e-5,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def save(model: "LlamaForCausalLM", tokenizer: "PreTrainedTokenizerFast", directory: Path) -> None:
    """Write the model in bf16 and its tokenizer as transformers lays them out."""
    import torch

    copy.deepcopy(model).to("cpu", torch.bfloat16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    (directory / "model.safetensors").chmod(0o644)  # safetensors writes it for the owner alone
