"""A run of few rows and a client of its pages, for tests of reviews."""

import json
from pathlib import Path

import numpy as np
from starlette.applications import Starlette
from starlette.testclient import TestClient

from localinstruct.judge.rubric import packaged
from localinstruct.progress import Silent
from localinstruct.recipe import load_recipe, packaged_workspace
from localinstruct.records import Instance, Kept, Lineage, Neighbour, Reject
from localinstruct.store.run import Run, open_run
from localinstruct.web.guard import Access, Guard
from localinstruct.web.review.desk import Desk, desk_of_run
from localinstruct.web.review.routes import routes

ORIGIN = "http://127.0.0.1:8000"
PASSAGE = "The harbour was built in 1907.\nIts lantern\n is green."


def rows_of_kinds() -> list[Instance]:
    """Twenty plain rows, a grounded one, a pair, and one full of markup."""
    plain = [
        Instance(f"What is {n} plus {n}?", output=str(2 * n)).with_scores(
            **{"novelty_max": n / 25, "helpful-correct": 1 + n % 5, "helpful-correct.correct": 5}
        )
        for n in range(1, 21)
    ]
    grounded = Lineage("grounded/fact", source="a.txt", offset=0, evidence=("lantern is green",))
    child = Lineage("evol", parents=(plain[0].id,), topic="sums")
    return [
        *plain,
        Instance("Which colour has the lantern?", PASSAGE, "Green.", lineage=grounded),
        Instance("Name a tree.", output="An oak.", rejected="A rock."),
        Instance(
            "<script>alert(1)</script> \x1b[31mred \u202ereversed",
            '"><img src=x onerror=alert(2)>',
            "{{ 7 * 7 }} </textarea><b>bold</b>",
            lineage=child,
        ),
    ]


REJECTS = [
    Reject(
        "filter", "refusal", "Instruction: Now say no.\nInput: to tea\nOutput: I cannot.\nEver."
    ),
    Reject("novelty", "too similar", "What is 1 plus 1.", "What is 1 plus 1?", 0.91),
]


def make_run(path: Path, more: int = 0) -> Path:
    """A run of these rows and rejects, with the packaged recipe; `more` plain rows after them."""
    rows = rows_of_kinds() + [Instance(f"Say {n}.", output=f"{n}") for n in range(more)]
    near = (Neighbour(rows[0].id, rows[0].instruction, 0.5),)
    recipe = load_recipe(packaged_workspace() / "recipes" / "nano.yaml", ("filters.rules=2",))
    with open_run(path) as run:
        run.put("recipe", recipe.to_yaml())
        run.put("workspace", str(packaged_workspace()))
        vector = np.ones(4, np.float32)
        run.commit_episode(0, [Kept(row, near, vector) for row in rows], REJECTS, 10)
        run.start_stage("generate", "inputs")
        run.finish_stage("generate", {"kept": len(rows), "candidates": len(rows) + 2})
    return path


def desk(run: Run, who: str = "ada") -> Desk:
    made = desk_of_run(run, who, packaged("helpful-correct"))
    made.fill(Silent())
    return made


class Window(TestClient):
    """A browser window on a desk's pages."""

    def __init__(self, desk: Desk) -> None:
        access = Access()
        app = Guard(Starlette(routes=routes(desk)), access)
        super().__init__(app, base_url=ORIGIN, client=("127.0.0.1", 0))
        self.headers["origin"] = ORIGIN
        self.get(f"/?token={access.token}")

    def decide(self, n: int, action: str, seen: int = 0, query: str = "", **more: str) -> str:
        """The page after a decision."""
        form = {"action": action, "seen": str(seen), **more}
        answer = self.post(f"/row/{n}/decide{query}", data=form)
        assert answer.status_code == 200, answer.text
        return answer.text


def dataset_rows(folder: Path) -> list[Instance]:
    """Rows of both sides of a run's data set."""
    lines = [
        line
        for name in ("train.jsonl", "held_out.jsonl")
        for line in (folder / "dataset" / name).read_text().splitlines()
    ]
    return [Instance.from_dict(json.loads(line)) for line in lines]
