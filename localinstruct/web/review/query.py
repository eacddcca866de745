"""A choice of rows: filters, order and words to search, as they stand in a page's address."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal
from urllib.parse import urlencode

STATES = {
    "undecided": "i.key NOT IN (SELECT key FROM state)",
    "decided by nobody": "i.key NOT IN (SELECT key FROM state) AND "
    "i.key NOT IN (SELECT key FROM others)",
    "decided": "i.key IN (SELECT key FROM state)",
    "kept": "i.key IN (SELECT key FROM state WHERE verdict = 'keep')",
    "dropped": "i.key IN (SELECT key FROM state WHERE verdict = 'drop')",
    "edited": "i.key IN (SELECT key FROM state WHERE edited)",
    "left out": "i.key IN (SELECT key FROM state WHERE left_out)",
    "labelled": "i.key IN (SELECT key FROM state WHERE labelled)",
    "people differ": "i.key IN (SELECT key FROM differing)",
    "judge differs": "i.key IN (SELECT key FROM state WHERE grade IS NOT NULL "
    "AND abs(grade - i.score) >= 1)",
}
"""State of a row in the page -> its condition."""
ORDERS = {
    "": ("n", "ASC"),
    "likeness": ("likeness", "DESC"),
    "score": ("score", "ASC"),
    "length": ("words", "DESC"),
}
"""Order -> column, direction; rows that are equal in it stand as they were made."""
KINDS = {"": "row", "rejects": "reject"}
NO_SCORE = 1e9
"""Score of a row without one: after all others."""
_RANGES = {"likeness": "likeness", "score": "score", "words": "words"}
# Scripts without blanks between words: each letter is a word of the search.
_UNSPACED = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff])")


@dataclass(frozen=True, slots=True)
class Query:
    """Filters and order; an empty text asks nothing."""

    kind: str = ""
    state: str = ""
    q: str = ""
    reason: str = ""
    topic: str = ""
    source: str = ""
    tag: str = ""
    sample: str = ""
    likeness_from: str = ""
    likeness_to: str = ""
    score_from: str = ""
    score_to: str = ""
    words_from: str = ""
    words_to: str = ""
    order: str = ""

    @staticmethod
    def of(values: Mapping[str, str]) -> "Query":
        """The query in an address; what is unknown or no number is passed over."""
        names = asdict(Query())
        given = {name: values[name].strip() for name in names if values.get(name, "").strip()}
        for name in [*given]:
            if name.endswith(("_from", "_to")) and _number(given[name]) is None:
                del given[name]
        for name, known in (("state", STATES), ("order", ORDERS), ("kind", KINDS)):
            if given.get(name, "") not in known:
                given.pop(name, None)
        return Query(**given)

    def address(self, path: str, **changes: str | int) -> str:
        """A page's address with this query in it, less what it does not ask."""
        asked = asdict(self) | changes
        words = urlencode({name: value for name, value in asked.items() if value})
        return f"{path}?{words}" if words else path

    @property
    def asks(self) -> int:
        """Number of filters at work, beside the kind and the order."""
        return sum(bool(v) for k, v in asdict(self).items() if k not in ("kind", "order"))

    def condition(self) -> tuple[str, list[str | float]]:
        """An SQL condition on items `i`, and its values."""
        parts, values = ["i.kind = ?"], list[str | float]([KINDS[self.kind]])
        for name in ("reason", "topic", "source"):
            if value := getattr(self, name):
                parts.append(f"i.{name} = ?")
                values.append(value)
        for name, column in _RANGES.items():
            low, high = (_number(getattr(self, f"{name}_{end}")) for end in ("from", "to"))
            if low is not None or high is not None:
                least = 0.0 if name == "likeness" else -NO_SCORE / 2
                parts.append(f"i.{column} BETWEEN ? AND ?")
                values += [max(least, low) if low is not None else least]
                values += [high if high is not None else NO_SCORE / 2]
        if self.tag:
            parts.append("i.key IN (SELECT key FROM tagged WHERE tag = ?)")
            values.append(self.tag)
        if self.sample:
            parts.append("i.key IN (SELECT key FROM sampled)")
        if self.state:
            parts.append(STATES[self.state])
        if words := searched(self.q):
            parts.append(
                "i.n IN (SELECT rowid FROM found WHERE found MATCH ? "
                "UNION SELECT rowid FROM mended WHERE mended MATCH ?)"
            )
            values += [words, words]
        return " AND ".join(parts), values

    def ordered(self) -> tuple[str, Literal["ASC", "DESC"]]:
        """(column, direction)."""
        column, direction = ORDERS[self.order]
        return column, "DESC" if direction == "DESC" else "ASC"


def searched(text: str) -> str:
    """What a person typed as a full-text query: all words, the last may go on; "" for none.

    Words in quotation marks stand together. Nothing that is typed is an operator.
    """
    parts = list[str]()
    for number, piece in enumerate(spaced(text).split('"')):
        words = re.findall(r"\w+", piece)
        if number % 2 and words:
            parts.append(f'"{" ".join(words)}"')
        else:
            parts += [f'"{word}"' for word in words]
    return " ".join(parts) + "*" if parts else ""


def spaced(text: str) -> str:
    """A text in which letters of scripts without blanks stand apart, so that they are words."""
    return _UNSPACED.sub(r" \1 ", text)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < NO_SCORE else None
