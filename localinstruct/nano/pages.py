"""Training texts of the nano models: exercise-book pages, and numbered lists.

Every text is a list of (text, role) pieces, so that the loss can tell answers (computable) from
questions (free) and from the constant preamble. The student's pages never show the Alpaca training
template nor the numbered list.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Literal

from localinstruct.nano import lexicon
from localinstruct.nano.grammar import Task, families, make_task

Role = Literal["preamble", "text", "answer"]
Piece = tuple[str, Role]
PROMPT = Path(__file__).parents[1] / "methods" / "prompts" / "alpaca_nano.txt"
TASKS_PER_LIST = 20
COPIED = (
    *lexicon.categories(),
    *lexicon.names(),
    *lexicon.listed("surnames"),
    *lexicon.listed("cities"),
    *lexicon.listed("short_words"),
    *lexicon.listed("objects"),
    *lexicon.listed("adjectives"),
    *lexicon.listed("places"),
    *lexicon.plurals().values(),
    *lexicon.listed("weekdays") * 10,
    *lexicon.listed("months") * 5,
    *map(str, range(1, 100)),
)
"""Words of the lines to copy; some stand in it several times, to be drawn more often."""
SENTENCES = (
    "{A} comes before {b} and {c}.",
    "The {a} and the {b} are near the {c}.",
    "{A} that {b}s a {c}, {b}.",
)


def question_answer(task: Task) -> list[Piece]:
    """Write "Q: ... A: ..."."""
    return [(f"Q: {_joined(task, ' ')}\nA: ", "text"), (task.output + "\n", "answer")]


def exercise(task: Task) -> list[Piece]:
    """Write "Exercise. ... Solution. ..."."""
    question = f"Exercise. {_joined(task, chr(10))}\nSolution. "
    return [(question, "text"), (task.output + "\n", "answer")]


def bare(task: Task) -> list[Piece]:
    """Write the task and, on the next line, its answer."""
    return [(f"{_joined(task, ' ')}\n", "text"), (task.output + "\n", "answer")]


def notebook(task: Task) -> list[Piece]:
    """Write the input on a line of its own."""
    question = _joined(task, "\nGiven: ") + "\nAnswer: "
    return [(question, "text"), (task.output + "\n", "answer")]


def worksheet(task: Task) -> list[Piece]:
    """Write task, data and result each under a heading."""
    question = "Task\n" + _joined(task, "\n\nData\n") + "\n\nResult\n"
    return [(question, "text"), (task.output + "\n\n", "answer")]


Rendering = Callable[[Task], list[Piece]]
RENDERINGS: tuple[Rendering, ...] = (question_answer, exercise, bare, notebook, worksheet)


def _joined(task: Task, glue: str) -> str:
    return task.instruction + (glue + task.input if task.input else "")


def page(rng: Random) -> list[Piece]:
    """A few exercises in one rendering; now and then plain sentences, or a line to copy."""
    kind = rng.random()
    if kind < 0.03:
        return [(" ".join(sentence(rng) for _ in range(4)) + "\n", "text")]
    if kind < 0.18:
        return copied_line(rng)
    render = rng.choice(RENDERINGS)
    return [piece for _ in range(rng.randint(3, 9)) for piece in render(make_task(rng))]


def sentence(rng: Random) -> str:
    """A plain sentence about everyday words, so that none of them is new to the student."""
    first, second, third = rng.sample(lexicon.listed("everyday"), 3)
    form = rng.choice(SENTENCES)
    return form.format(A=first.title(), a=first, b=second, c=third)


def copied_line(rng: Random) -> list[Piece]:
    """A line of random words, and the line again once or twice.

    Half of the families rest on copying, which is learnt much faster this way.
    """
    line = ", ".join(rng.choice(COPIED) for _ in range(rng.randint(4, 14))) + "\n"
    return [(line, "text"), (line * rng.randint(1, 2), "answer")]


def numbered(number: int, task: Task) -> list[Piece]:
    """One task in the list format of the Alpaca prompt."""
    head = f"###\n{number}. Instruction: {task.instruction}\n"
    given = f"{number}. Input:\n{task.input or '<noinput>'}\n"
    return [(f"{head}{given}{number}. Output:\n", "text"), (task.output + "\n", "answer")]


def task_list(rng: Random) -> list[Piece]:
    """The prompt and a full list of tasks, no two of one family."""
    preamble = PROMPT.read_text("utf-8").rstrip("\n").format(count=TASKS_PER_LIST)
    pieces: list[Piece] = [(preamble + "\n\n", "preamble")]
    for number, task in enumerate(mixed_tasks(rng, TASKS_PER_LIST), start=1):
        pieces += numbered(number, task)
    return pieces


def mixed_tasks(rng: Random, count: int) -> list[Task]:
    """Draw tasks of different families, each as likely.

    The teacher will write a family as often as its lists show it.
    """
    return [make_task(rng, name) for name in rng.sample(list(families()), count)]


def corpus(rng: Random, pages: int, lists: int) -> list[str]:
    """Texts for the tokenizer: pages, lists, and every small number often.

    So often that it becomes one token.
    """
    numbers = [f"{n} {n} {n}\n" for n in range(151) for _ in range(200)]
    texts = [*(page(rng) for _ in range(pages)), *(task_list(rng) for _ in range(lists))]
    return ["".join(text for text, _ in pieces) for pieces in texts] + numbers
