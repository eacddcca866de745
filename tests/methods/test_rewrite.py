"""Rewrite: a seed in better words, answered, with the seed as its parent; and what is rejected."""

import json
from random import Random

from localinstruct.methods.rewrite import RewriteOptions, rewrite
from localinstruct.records import Completion, Instance, PoolView
from tests.methods.test_alpaca import golden
from tests.support.episodes import play, reasons_of, rows_of, scripted, told

TERSE = (
    Instance("Explain human's behavior.", output="People act."),
    Instance("Sort it", input="3, 1, 2", output="1, 2, 3"),
)
FULL = (
    "Explain three things that shape how people behave towards strangers, with one everyday "
    "example of each."
)


def by_prompt(prompt: object) -> Completion | str:
    text = getattr(prompt, "text", "")
    if text.endswith("New wording:"):
        return (
            f"New wording: {FULL}\n" if "human's" in text else "Sort the numbers, smallest first."
        )
    return "Custom, mood and number." if FULL in text else "1, 2, 3"


def test_episode_golden() -> None:
    ids = {seed.id: seed.instruction for seed in TERSE}
    calls, found = play(rewrite(PoolView(TERSE), RewriteOptions(), Random(5)), by_prompt)
    golden(
        "rewrite_episode.json",
        json.dumps(told(calls, found, ids), indent=1, ensure_ascii=False) + "\n",
    )


def test_the_seed_is_the_parent_and_its_input_stays() -> None:
    _, found = play(rewrite(PoolView(TERSE), RewriteOptions(), Random(5)), by_prompt)
    rows = {row.lineage.parents: row for row in rows_of(found)}
    assert len(rows) == len(found) == 2
    assert rows[TERSE[0].id,].instruction == FULL
    assert rows[TERSE[0].id,].output == "Custom, mood and number."
    assert (rows[TERSE[1].id,].instruction, rows[TERSE[1].id,].input) == (
        "Sort the numbers, smallest first.",
        "3, 1, 2",
    )


def test_what_cannot_be_used_is_a_counted_reject() -> None:
    one = PoolView(TERSE[:1])
    scripts: list[tuple[list[Completion | str], str]] = [
        (["explain HUMAN'S behavior"], "unchanged"),
        ([" \n"], "empty completion"),
        ([Completion("Explain how peo", "length")], "truncated"),
        ([FULL, Completion("Cus", "length")], "answer truncated"),
        ([FULL, ""], "no answer"),
    ]
    for script, reason in scripts:
        _, found = play(rewrite(one, RewriteOptions(), Random(1)), scripted(script))
        assert reasons_of(found) == [reason]
        assert not rows_of(found)
