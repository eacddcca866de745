"""The model of the scheduler: what can be said by hand, it says; and the published comparison."""

import json
from pathlib import Path

import pytest

from benchmarks.scale_model import RESULTS, Fleet, Simulation, lengths, predicted, table


def test_full_servers_give_a_token_a_step_and_place() -> None:
    outcome = Simulation(Fleet(2, places=4, step=0.5, ahead=10**6), [10] * 80).run()
    assert (outcome.seconds, outcome.tokens) == (
        50.0,
        800,
    )  # ten rounds of eight, five seconds each
    assert outcome.busy["servers"] == 1.0
    assert outcome.bottleneck == "servers"


def test_the_slowest_part_sets_the_pace() -> None:
    fleet = Fleet(8, places=4, step=0.01, ahead=10**6)
    by_client = Simulation(Fleet(8, 4, 0.01, ahead=10**6, reply=0.1), [10] * 400).run()
    assert by_client.seconds == pytest.approx(0.1 + 400 * 0.1)  # the first answer, then one by one
    by_encoder = Simulation(Fleet(8, 4, 0.01, ahead=10**6, row=0.1), [10] * 400).run()
    assert by_encoder.bottleneck == "encoder"
    assert by_encoder.seconds == pytest.approx(0.1 + 400 * 0.1)
    assert Simulation(fleet, [10] * 400).run().seconds == pytest.approx(0.1 * 13)  # 400 of 32


def test_commits_in_order_hold_back_what_is_ahead() -> None:
    first_is_long = [1000] + [10] * 99
    one = Simulation(Fleet(1, places=10, step=0.01, ahead=10), first_is_long).run()
    free = Simulation(Fleet(1, places=10, step=0.01, ahead=10**6), first_is_long).run()
    assert free.seconds == pytest.approx(10.0)  # the others have been answered meanwhile
    assert one.seconds == pytest.approx(10.0 + 0.1 * 9)  # ninety of them begin after it


def test_a_run_is_the_same_every_time() -> None:
    fleet = Fleet(2, reply=0.004, row=0.003)
    assert predicted(fleet, 500) == predicted(fleet, 500)
    assert lengths(3) == lengths(4)[:3]


def test_more_cards_than_the_client_can_read_for_bring_nothing() -> None:
    rows = {one["cards"]: one for one in table(Fleet(1, places=16, reply=0.01))}
    assert rows[1]["bottleneck"] == "servers"
    assert rows[64]["bottleneck"] == "client"
    assert rows[64]["replies_per_second"] == pytest.approx(100, rel=0.01)


STORED = sorted(Path(RESULTS).glob("*.json"))


@pytest.mark.skipif(not STORED, reason="not measured yet")
def test_the_published_comparison_is_that_of_the_model() -> None:
    for file in STORED:
        stored = json.loads(file.read_text())
        assert [run["servers"] for run in stored["runs"]] == [1, 2, 8]
        for run in stored["runs"]:
            fleet = Fleet(run["servers"], step=run["step"])
            pace = predicted(fleet, run["tasks"]).pace
            assert pace == pytest.approx(run["model"], rel=0.01)
            measured = run["measured"]["tokens_per_second"]
            assert run["ratio"] == pytest.approx(pace / measured, rel=0.01)
