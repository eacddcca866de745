"""A run that is watched, in words: one wording for the terminal view, the page and `show`."""

from localinstruct.generation.forecast import in_words
from localinstruct.progress import duration, loss, per_second, percent
from localinstruct.records import JsonObject
from localinstruct.report.live import Generation, Training, WatchFacts
from localinstruct.report.processes import Taken

QUIET = 60.0
"""Seconds without a sign after which it is said."""
REASONS = 6
"""Reasons of rejects that are listed."""


def headline(facts: WatchFacts) -> str:
    """The run's state in one line: 'generate: the teacher writes rows'."""
    place = f"{facts.stage}: " if facts.state == "running" and facts.stage else ""
    quiet, seconds = "", duration(facts.quiet_seconds)
    if facts.state == "running" and facts.quiet_seconds >= QUIET:
        tells = facts.stage in ("generate", "train")  # others leave no trace before their end
        quiet = f"; alive, with nothing new for {seconds}" if tells else f", for {seconds}"
    return f"{place}{facts.doing}{quiet}"


def next_step(facts: WatchFacts) -> str:
    """The command that goes on, or renews what is stale; "" while the run is at work."""
    if facts.state == "running":
        return ""
    if facts.state == "finished" and facts.renew:
        return facts.renew
    verb = "show" if facts.state == "finished" else "run"
    return f"localinstruct {verb} {facts.run}"


def done(facts: WatchFacts) -> float | None:
    """How far the stage at work is, 0 to 1; rows against target while none is; else None."""
    made, training = facts.generation, facts.training
    if facts.state == "running" and facts.stage == "train":
        return min(1.0, training.epoch / training.epochs) if training else 0.0
    if facts.state == "running" and facts.stage != "generate":
        return None  # nothing tells how far it is
    return min(1.0, made.kept / made.target) if made.target else None


def pace(facts: WatchFacts) -> list[tuple[str, str]]:
    """Names and values of how far the run is, how fast, and how long it will take."""
    lines = _rows(facts.generation)
    if facts.state == "running" and facts.seconds_left:
        lines.append(("time left", f"{in_words(facts.seconds_left)} for {facts.stage}"))
    elif facts.state == "running" and facts.stages.get(facts.stage) == "begun":
        lines.append(("time left", "not known yet"))
    if facts.training:
        lines += _training(facts.training)
    return [*lines, *map(_endpoint, facts.endpoints), *_taken(facts.taken)]


def _rows(made: Generation) -> list[tuple[str, str]]:
    if not made.target and not made.kept:
        return []
    done = percent(min(1.0, made.kept / made.target)) if made.target else ""
    lines = [("rows kept", f"{made.kept:,} of {made.target:,} ({done})")]
    if made.last_episode is not None:
        lines.append(("episodes", f"{made.episodes:,} of {made.last_episode:,}"))
    if made.share_new is not None:
        lines.append(("share new", f"{percent(made.share_new)} of {made.candidates:,} candidates"))
    if made.tokens_per_second is not None:
        lately = made.tokens_per_second_lately
        now = f", {per_second(lately)} lately" if lately is not None else ""
        lines.append(("output tokens/s", f"{per_second(made.tokens_per_second)}{now}"))
        count = f"{made.output_tokens:,} tokens for {made.prompts:,} prompts"
        lines.append(("asked", f"{duration(made.seconds)}, {count}"))
    return lines


def _training(training: Training) -> list[tuple[str, str]]:
    done = f"step {training.step:,}, epoch {training.epoch:.2f} of {training.epochs:g}"
    if training.tokens_per_second is not None:
        done += f", {per_second(training.tokens_per_second)} tokens/s"
    lines = [("training", done)]
    if training.losses:
        lines.append(("loss", loss(training.losses[-1][1])))
    if training.held_out:
        step, measured = training.held_out[-1]
        lines.append(("held-out loss", f"{loss(measured)} at step {step:,.0f}"))
    return lines


def _endpoint(one: JsonObject) -> tuple[str, str]:
    """An endpoint that is asked: requests there, its limit, answers; or why it is out."""
    words = f"{one['in_flight']} in flight of up to {one['limit']}, {one['answered']:,} answered"
    return "endpoint", f"{one['url']}: {words if one['state'] == 'up' else 'out: ' + one['why']}"


def _taken(taken: Taken) -> list[tuple[str, str]]:
    lines = []
    if taken.processes:
        cores = "" if taken.cores is None else f", {taken.cores:.1f} cores busy"
        count = f"{taken.processes} process{'' if taken.processes == 1 else 'es'}"
        lines.append(("memory", f"{taken.memory_gib:.1f} GiB, {count}{cores}"))
    for card in taken.cards:
        used = f"{card.used_gib:.1f} of {card.total_gib:.1f} GiB in use"
        lines.append(("GPU memory", f"{used} on {card.name}"))
    for queue in taken.queues:
        cache = f"cache {percent(queue.cache)} full"
        words = f"{queue.running} running, {queue.waiting} waiting, {cache}"
        lines.append(("vLLM", f"{queue.model}: {words}"))
    return lines


def rejects(facts: WatchFacts) -> list[tuple[str, str, str]]:
    """(reason, count, share of the candidates) of the most frequent ones."""
    made = facts.generation
    return [
        (
            f"{one.stage}: {one.reason}",
            f"{one.count:,}",
            percent(one.count / made.candidates),
        )
        for one in made.reasons[:REASONS]
    ]


def topics(facts: WatchFacts) -> list[tuple[str, str]]:
    """(topic, '13 of 20'), those with the fewest rows first."""
    fewest = sorted(facts.generation.topics, key=lambda one: one.kept)
    return [
        (one.topic, f"{one.kept:,}{f' of {one.quota:,}' if one.quota else ''}") for one in fewest
    ]


def stages(facts: WatchFacts) -> str:
    """'generate finished · train begun'; those that were not started are left out."""
    begun = [f"{name} {word}" for name, word in facts.stages.items() if word != "not started"]
    return " · ".join(begun)
