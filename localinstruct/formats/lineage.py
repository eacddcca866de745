"""Lineage and scores of a row that this program or Alpaca's generator wrote."""

import json

from localinstruct.formats.checks import read_checks
from localinstruct.formats.fields import Malformed, describe, optional_text
from localinstruct.records import JsonObject, Lineage


def read_lineage(value: object) -> Lineage:
    """The lineage of a row: an object in our own rows, its JSON text in Parquet."""
    if isinstance(value, str) and value:
        value = _lineage_json(value)
    if not value:
        return Lineage()
    if not isinstance(value, dict):
        raise Malformed(f"expected lineage to be an object, found {describe(value)}")
    episode, offset = value.get("episode", -1), value.get("offset", -1)
    for key, number in (("episode", episode), ("offset", offset)):
        if type(number) is not int:
            expected = f"lineage.{key} to be a whole number"
            raise Malformed(f"expected {expected}, found {describe(number)}")
    where = "lineage."
    return Lineage(
        method=optional_text(value, "method", where),
        episode=episode,
        parents=_strings(value, "parents"),
        teacher=optional_text(value, "teacher", where),
        topic=optional_text(value, "topic", where),
        answered_by=optional_text(value, "answered_by", where),
        rejected_by=optional_text(value, "rejected_by", where),
        original=optional_text(value, "original", where),
        source=optional_text(value, "source", where),
        offset=offset,
        evidence=_strings(value, "evidence"),
        scores=read_scores(value.get("scores"), "lineage.scores"),
        constraints=_constraints(value.get("constraints")),
    )


def _constraints(value: object) -> JsonObject:
    try:
        return read_checks(value, "") if value else {}
    except ValueError as problem:
        raise Malformed(f"lineage.constraints: {problem}") from None


def _strings(lineage: JsonObject, key: str) -> tuple[str, ...]:
    texts = lineage.get(key) or []
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        kind = "ids" if key == "parents" else "texts"
        raise Malformed(f"expected lineage.{key} to be a list of {kind}, found something else")
    return tuple(texts)


def _lineage_json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("expected lineage to be JSON, found other text") from None


def regen_scores(row: JsonObject) -> dict[str, float]:
    """The scores of Alpaca's regen.json: ROUGE-L against its pool, so not named novelty_*."""
    scores: dict[str, float] = {}
    similar = "most_similar_instructions"
    if row.get(similar):
        scores["rouge_l_max"] = max(read_scores(row[similar], similar).values())
    if row.get("avg_similarity_score") is not None:
        mean = {"avg_similarity_score": row["avg_similarity_score"]}
        scores["rouge_l_mean"] = read_scores(mean, "the row")["avg_similarity_score"]
    return scores


def read_scores(value: object, where: str) -> dict[str, float]:
    """Scores by name; Malformed where one is no number."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"expected {where} to be an object of numbers, found {describe(value)}")
    for key, score in value.items():
        if not isinstance(score, int | float) or isinstance(score, bool):
            expected = f"{where}[{str(key)[:40]!r}] to be a number"
            raise Malformed(f"expected {expected}, found {describe(score)}")
    return {str(key): float(score) for key, score in value.items()}
