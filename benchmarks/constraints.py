"""A student taught by its own verified answers: arms beside a random one (`make real-study`).

    python -m benchmarks.constraints WORKSPACE --model NAME [--arms verified,random] [--seeds 1,2,3]

Every arm is a run of recipes/real.yaml with one chat model as teacher and student, on
seeds/open_requests.jsonl; it differs from "verified" by the keys below. A run that was interrupted
goes on, and a finished one is only read, so the same command can be given again until all is there.
Prints a table: rows, gain on held-out requests of seen and of held-out kinds with its 95 %
interval, and the perplexity of the words of our own seed tasks, about 20,000 tokens of English that
no arm is trained on. Not covered: significance across seeds.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import localinstruct as li
from localinstruct.evaluation import wording
from localinstruct.evaluation.constraints import HELD_OUT, SEEN
from localinstruct.recipe import packaged_workspace
from localinstruct.records import JsonObject

LETTERS = 72_000
"""Letters of that text."""
COMMON: Mapping[str, str] = {"evaluate.constraints": "1200", "evaluate.text": "study_text.txt"}
ARMS: Mapping[str, Mapping[str, str]] = {
    "verified": {},
    "random": {"method.constraints.ways": "[any]", "method.constraints.rounds": "4"},
    "sampled": {"method.constraints.ways": "[sample]", "method.constraints.answers": "8"},
    "kinds": {"method.constraints.only": "[]"},
    "rounds": {"method.constraints.rounds": "4"},
    "slower": {"train.learning_rate": "1.0e-4"},
    "answers": {"train.loss_on": "last"},
    "full": {"train.mode": "full", "train.learning_rate": "2.0e-5"},
    "dpo": {
        "method.constraints.answers": "4",
        "train.objective": "dpo",
        "train.loss_on": "last",
        "train.learning_rate": "2.0e-5",
    },
}
"""Name of an arm -> what it changes. `random` has as many rows as `verified` of the same seed."""


def command(
    arm: str, seed: int, model: str, rows: int | None, more: Sequence[str] = ()
) -> list[str]:
    """The command that makes a run, or goes on with it."""
    settings = {
        **COMMON,
        "models.teacher": model,
        "models.student": model,
        "seed": str(seed),
        **ARMS[arm],
        **({"dataset.max_rows": str(rows)} if rows else {}),
    }
    words = [f"{key}={value}" for key, value in settings.items()]
    sets = [word for setting in (*words, *more) for word in ("--set", setting)]
    return ["run", "recipes/real.yaml", "--name", run_name(arm, seed), *sets]


def write_text(workspace: Path) -> None:
    """The text on which forgetting is measured: words of our seed tasks, in the file's order."""
    seeds = li.read_rows(packaged_workspace() / "seeds" / "seed_tasks.jsonl")
    texts = ["\n".join(filter(None, (one.instruction, one.input, one.output))) for one in seeds]
    text = "\n\n".join(texts)[:LETTERS]
    (workspace / COMMON["evaluate.text"]).write_text(text, encoding="utf-8")


def run_name(arm: str, seed: int) -> str:
    """Name of the run of an arm."""
    return f"study-{arm}-{seed}"


def result(workspace: Path, arm: str, seed: int, stage: str) -> JsonObject | None:
    """The result of a finished stage, or None."""
    folder = workspace / "runs" / run_name(arm, seed)
    if not folder.is_dir():
        return None
    state = li.open_run(folder).stages()[stage]
    return state.result if state.state == "finished" else None


def lines(workspace: Path, arms: Sequence[str], seeds: Sequence[int]) -> Iterator[str]:
    """The table, a line for each run that has been evaluated."""
    columns = ["arm", "seed", "rows", SEEN, "loose", HELD_OUT, "loose", "perplexity"]
    yield f"| {' | '.join(columns)} |"
    yield "|---|---:|---:|---|---|---|---|---|"
    for arm in arms:
        for seed in seeds:
            evaluated = result(workspace, arm, seed, "evaluate")
            rows = (result(workspace, arm, seed, "dataset") or {}).get("train")
            if evaluated:
                yield f"| {' | '.join([arm, str(seed), str(rows), *cells(evaluated)])} |"


def cells(evaluated: JsonObject) -> list[str]:
    """Gains of both groups, strict and loose, and the perplexities of base and student."""
    groups = evaluated["form"]["groups"]
    gains = [
        wording.gain(groups[name][how]) for name in (SEEN, HELD_OUT) for how in ("strict", "loose")
    ]
    return [*gains, wording.perplexities(evaluated["forgetting"])]


def main(words: Sequence[str] | None = None) -> int:
    """Make what is missing, then print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.constraints")
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--model", required=True, help="a chat model of models.yaml")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args(words)
    arms, seeds = given.arms.split(","), [int(seed) for seed in given.seeds.split(",")]
    write_text(given.workspace)
    for seed in seeds:
        for arm in arms:
            if result(given.workspace, arm, seed, "evaluate"):
                continue
            verified = result(given.workspace, "verified", seed, "dataset") or {}
            rows = verified.get("train") if arm == "random" else None
            words_of_run = command(arm, seed, given.model, rows, given.set)
            done = subprocess.run(
                [sys.executable, "-m", "localinstruct", *words_of_run],
                cwd=given.workspace,
                check=False,
            )
            if done.returncode:
                return done.returncode
    sys.stdout.write("\n".join(lines(given.workspace, arms, seeds)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
