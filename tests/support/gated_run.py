"""A run whose rows a real gate has judged, by an encoder that costs nothing: what the thresholds
and the map of a report are held against.

`make(path)` writes it through the Run API; `offered()` are its candidates in the order in which the
gate met them, and `SEEDS` what they were compared with.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from localinstruct.curate.novelty import Gate, Novelty, index_for, text_of
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, Instance, Kept, Lineage, Reject
from localinstruct.report.stage import Again
from localinstruct.store.run import open_run
from tests.support.scripted import PLACES, THINGS, VERBS, HashEncoder

EPISODES, OFFERED = 16, 10
SEEDS = [
    Instance("List 12 rivers in Peru", "", "They are rivers."),
    Instance("Compare two kettles for children", "", "Both boil."),
    Instance("Describe a fern at sea by weight", "", "A wet fern."),
]
HOSTILE = (
    '</script><script>alert(1)</script><img src=x onerror=alert(1)> \u202eevil \x1b[31m <!-- "'
)
TOPICS = ("rivers", "kettles")


def recipe(**changes: object) -> Recipe:
    data: dict[str, object] = {
        "name": "gated",
        "models": {"teacher": "nano-teacher", "student": "nano-student"},
        "method": {"alpaca": {}},
        "generate": {"target": 400},
        "novelty": {"threshold": 0.85},
    }
    return Recipe.model_validate(data | changes)


def offered(seed: int = 4, hostile: bool = False) -> list[list[Instance]]:
    """Rows by episode: phrases that share most of their words, so that many are alike."""
    rng = Random(seed)
    return [list(_episode(rng, number, hostile)) for number in range(EPISODES)]


def _episode(rng: Random, number: int, hostile: bool) -> Iterator[Instance]:
    for n in range(OFFERED):
        words = [rng.choice(VERBS), str(rng.randint(2, 12)), rng.choice(THINGS)]
        words += [rng.choice(PLACES), *rng.sample(("slowly", "again", "twice", "by hand"), 2)]
        text = " ".join(words)
        if hostile and n % 4 == 0:
            text = f"{text} {HOSTILE}"
        topic = TOPICS[n % 2] if number % 2 else ""
        lineage = Lineage("alpaca", number, topic=topic)
        yield Instance(text, "", f"An answer about {text.lower()}.", lineage=lineage)


def gate_at(novelty: Novelty) -> Gate:
    """A gate that knows the seeds, as generation makes it."""
    compared = SEEDS if novelty.against != "kept" else []
    index = index_for(novelty, 256)
    if compared:
        texts = [text_of(seed, novelty) for seed in compared]
        labels = [(seed.id, text) for seed, text in zip(compared, texts, strict=True)]
        index.add(HashEncoder().encode(texts), labels)
    return Gate(novelty, index, compared)


def decided(
    novelty: Novelty, episodes: Sequence[Sequence[Instance]]
) -> Iterator[list[Kept | Reject]]:
    """The gate's verdicts on each episode."""
    gate, encoder = gate_at(novelty), HashEncoder()
    for rows in episodes:
        yield gate.admit(rows, encoder.encode([text_of(row, novelty) for row in rows]))


def make(path: Path, *, hostile: bool = False, **changes: object) -> Recipe:
    """A run at this place with the recipe that it was made with."""
    made = recipe(**changes)
    episodes = offered(hostile=hostile)
    with open_run(path) as run:
        run.put("comparison", "2")
        run.start_stage("generate", "i")
        for number, verdicts in enumerate(decided(made.novelty, episodes)):
            kept = [one for one in verdicts if isinstance(one, Kept)]
            rejects = [one for one in verdicts if isinstance(one, Reject)]
            run.record(number, 0, 0, {"text": "p"}, f"d{number}", [Completion("t", "stop", 50)])
            run.commit_episode(number, kept, rejects, 50)
        run.put("recipe", made.to_yaml())
        run.finish_stage("generate", {"output_tokens": 1500, "seconds": 3.0})
    return made


def again(made: Recipe) -> Again:
    """What a report compares its rows with again."""
    seeds = [text_of(seed, made.novelty) for seed in SEEDS]
    return Again(HashEncoder(), seeds if made.novelty.against != "kept" else [], Silent())
