"""Output about results that no longer hold: what is stale, what was changed by hand."""

from collections.abc import Iterable

from localinstruct.records import JsonObject, StageResult
from localinstruct.states import (
    UNDATED,
    State,
    States,
    edited_words,
    read_comparisons,
    renewal,
    results_of,
)
from localinstruct.store.run import Run


def doubts(states: States, run: Run) -> Iterable[tuple[str, str]]:
    """Stale results and files changed by hand, beyond the lines of the stages."""
    for words in edited_words(states):
        yield "by hand", words
    for state in states.values():
        yield from ((state.stage.name, f"{words}") for words in state.remarks if words != UNDATED)
    for stored in read_comparisons(run):
        if stored["stale"]:
            why, again = "; ".join(stored["stale"]), stored.get("asked", "")
            command = f"localinstruct evaluate {run.path} {again}"
            yield "comparison", f"{stored['name']} is stale: {why}. Renew it: {command}"


def state_facts(states: States, name: str, run: Run) -> JsonObject:
    """A stage's entry of `show --json`."""
    state = states[name]
    assert state.entry is not None
    return {
        "finished": state.entry.finished,
        "state": state.state,
        "why": list(state.why),
        "renew": renewal(states, name, str(run.path)) if state.state == "stale" else None,
        "by_hand": dict(state.edited),
        "remarks": list(state.remarks),
        "result": state.result,
    }


def counted(state: State, run: Run) -> StageResult:
    """The result with the counts of files that were changed by hand."""
    return results_of({state.stage.name: state}, run)[state.stage.name] or state.result
