"""The page of an improvement: its rounds, each beside the run it began from, with intervals.

Takes the state that `improve` stores, as plain values; the terminal shows the same words.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from localinstruct.evaluation.wording import signed
from localinstruct.progress import percent
from localinstruct.records import JsonObject
from localinstruct.report import charts
from localinstruct.report.page import rendered as page_of
from localinstruct.store.durable import write_text

NOT_A_CLAIM = (
    "The tasks that say what a round brought have also chosen what it generated. For a claim, ask "
    "tasks that chose nothing:"
)


def write_rounds(page: Path, name: str, state: JsonObject) -> None:
    """Write the page of the rounds on the run of this name."""
    rounds = [rendered(one) for one in state["rounds"]]
    done = [one for one in rounds if one["gain"]]
    values = {
        "name": name,
        "headline": headline(state),
        "ended": state["ended"],
        "rounds": rounds,
        "total": done[-1]["total"] if done else None,
        "confirm": confirmation(state),
        "not_a_claim": NOT_A_CLAIM,
        "again": f"localinstruct improve {state['run']}",
        "dumbbell": charts.dumbbell,
    }
    write_text(page, page_of("rounds.html.j2", values))


def headline(state: Mapping[str, object]) -> str:
    """Gain of all rounds together, in a sentence."""
    rounds = state["rounds"]
    assert isinstance(rounds, Sequence)
    done = [one for one in rounds if one["gain"]]
    if not done:
        return "No round has finished yet"
    total, count = done[-1]["total"], len(done)
    words = "one round" if count == 1 else f"{count} rounds"
    return f"{words[0].upper()}{words[1:]}: {gain_words(total)}"


def gain_words(gain: JsonObject) -> str:
    """'better by +4.2 points (95 % interval +1.0 to +7.4), 71.2% → 75.4% of 234 right'."""
    low, high = gain["interval"]
    side = "better" if low > 0 else "worse" if high < 0 else "not shown to differ"
    points = signed(gain["after"] - gain["before"])
    before, after = percent(gain["before"]), percent(gain["after"])
    return (
        f"{side}, {points} points (95 % interval {signed(low)} to {signed(high)}), "
        f"{before} → {after} of {gain['count']:,} right"
    )


def rendered(one: JsonObject) -> JsonObject:
    """A round in words."""
    gain = one["gain"]
    return {
        "number": one["number"],
        "run": Path(one["run"]).name,
        "began_from": Path(one["began_from"]).name,
        "sides": [_side(side, side["name"] in one["unreached"]) for side in one["sides"]],
        "rows": one["rows"],
        "train": one["train"],
        "gain": gain,
        "words": gain_words(gain) if gain else "",
        "weak": gain_words(gain["weak"]) if gain and gain["weak"] else "",
        "total": gain_words(one["total"]) if one["total"] else "",
    }


def _side(side: JsonObject, unreached: bool) -> JsonObject:
    interval = f"{percent(side['low'])} to {percent(side['high'])}"
    words = f"{percent(side['right'])} of {side['count']:,} right (95 % interval {interval})"
    doubts = [] if side["shown"] else ["not shown to be weaker than all"]
    doubts += ["nothing in the recipe leads there"] if unreached else []
    return {"name": side["name"], "words": "; ".join([words, *doubts])}


def confirmation(state: Mapping[str, object]) -> str:
    """The command that holds the last student against the first on other tasks."""
    rounds = state["rounds"]
    assert isinstance(rounds, Sequence)
    done = [one for one in rounds if one["gain"]]
    if not done:
        return ""
    return f"localinstruct evaluate {done[-1]['run']} --against {state['run']} --tasks FILE"
