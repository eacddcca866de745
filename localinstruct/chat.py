"""Chat: talk to a run's student, with its adapter or without, both on one vLLM.

Each line is asked with the template the student was trained on and answered greedily on its own (Alpaca's template knows
no earlier turns).
"""

from contextlib import ExitStack

from localinstruct import console
from localinstruct.errors import UsageError
from localinstruct.models import load_catalog
from localinstruct.pipeline import recipe_of
from localinstruct.recipe import Recipe
from localinstruct.records import Instance
from localinstruct.run import Run
from localinstruct.stages.evaluate import STUDENT, question
from localinstruct.teacher import Sampling
from localinstruct.teacher.serving import Connect, answer_all, serving

HELP = "/base and /student choose who answers; /quit or Ctrl-D ends."


def chat(run: Run, *, base: bool, prompt: str | None) -> None:
    """Answer `prompt`, or every line typed until the end of input; UsageError before the student is trained."""
    recipe, workspace = recipe_of(run)
    adapter = run.path / "adapter"
    if not adapter.is_dir():
        raise UsageError(
            f"{run.path}: no adapter in it yet.", f"Train the student first: localinstruct train {run.path}"
        )
    spec = load_catalog(workspace).get(recipe.models.student)
    names = {"base": spec.name, "student": STUDENT}
    with ExitStack() as display:
        progress = display.enter_context(console.progress())
        with serving(spec, recipe.serve, run.path, progress, {STUDENT: adapter}) as connect:
            display.close()  # the moving line goes, the prompt comes
            _talk(connect, recipe, names, "base" if base else "student", prompt)


def _talk(connect: Connect, recipe: Recipe, names: dict[str, str], who: str, prompt: str | None) -> None:
    if prompt is not None:
        console.line(_answer(connect, recipe, names[who], prompt))
        return
    console.note(HELP)
    while (typed := console.ask(f"{who} >")) not in (None, "/quit"):
        assert typed is not None
        if typed.removeprefix("/") in names and typed.startswith("/"):
            who = typed.removeprefix("/")
        elif typed.startswith("/"):
            console.note(HELP)
        elif typed.strip():
            console.line(_answer(connect, recipe, names[who], typed))


def _answer(connect: Connect, recipe: Recipe, name: str, typed: str) -> str:
    prompt = question(Instance(instruction=typed.strip()), recipe)
    [answer] = answer_all(connect, name, [prompt], Sampling(temperature=0.0), lambda _: None)
    return answer.text.strip()
