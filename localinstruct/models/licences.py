"""Licences that models often have: what each asks, in a sentence, with the words that ask it.

Each sentence rests on phrases of the licence's own text, and a test looks these up in a copy of it.
A licence that is not here is looked for among the entries of models.yaml. Not covered: whether a
model really is under the licence that is named; terms beside a licence; legal advice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localinstruct.records import JsonObject

NOT_LOOKED_UP = (
    "Not looked up: read the licence file before you publish anything made with this model."
)
FILES = ("license", "licence", "license.txt", "licence.txt", "license.md", "licence.md")
"""Names of a licence's file in a model directory, in lower case."""
HEAD = 2000
"""Letters of such a file that are looked at."""
OTHER_NAMES = {
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "the mit license": "MIT",
    "mit license": "MIT",
    "bsd-2": "BSD-2-Clause",
    "bsd-3": "BSD-3-Clause",
    "cc by 4.0": "CC-BY-4.0",
    "cc0": "CC0-1.0",
    "llama3.1": "Llama 3.1 Community License",
    "llama3.2": "Llama 3.2 Community License",
    "gemma": "Gemma Terms of Use",
    "lfm1.0": "LFM Open License v1.0",
}
"""Other spellings, in lower case, model hubs' tags among them -> the name that is used here."""


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence by its SPDX name: what it asks, and the phrases of its text that ask it."""

    name: str
    asks: str
    phrases: tuple[str, ...]
    title: tuple[str, ...] = ()
    """Words, all of which stand at the beginning of its text."""


_BINARY = "Redistributions in binary form must reproduce the above copyright notice"
KNOWN = (
    Licence(
        "Apache-2.0",
        "None on outputs or on a model trained on them. Passing on the weights or a fine-tuned "
        "derivative: include the licence and notices, say what was changed (section 4).",
        (
            "You must give any other recipients of the Work or Derivative Works a copy of this "
            "License",
            "You must cause any modified files to carry prominent notices stating that You changed "
            "the files",
            "You must retain, in the Source form of any Derivative Works that You distribute, all "
            "copyright, patent, trademark, and attribution notices",
        ),
        ("Apache License", "Version 2.0"),
    ),
    Licence(
        "MIT",
        "None on outputs or on a model trained on them. Passing on the weights or a substantial "
        "part of them, also fine-tuned: include the copyright and permission notice.",
        (
            "The above copyright notice and this permission notice shall be included in all copies "
            "or substantial portions of the Software",
        ),
        ("Permission is hereby granted, free of charge", "substantial portions of the Software"),
    ),
    Licence(
        "BSD-3-Clause",
        "None on outputs or on a model trained on them. Passing on the weights, also fine-tuned: "
        "reproduce copyright notice, conditions and disclaimer; no use of the holders' names to "
        "promote what you made of it.",
        (_BINARY, "may be used to endorse or promote products derived from this software"),
        ("Redistribution and use in source and binary forms", "endorse or promote"),
    ),
    Licence(
        "BSD-2-Clause",
        "None on outputs or on a model trained on them. Passing on the weights, also fine-tuned: "
        "reproduce copyright notice, conditions and disclaimer.",
        (_BINARY,),
        ("Redistribution and use in source and binary forms",),
    ),
    Licence(
        "CC-BY-4.0",
        "Sharing the weights, also fine-tuned: name the creator, keep the notices, link the "
        "licence, say what was changed (section 3). Whether outputs or a model trained on them are "
        "adapted material it does not say: credit the creator to be safe.",
        (
            "identification of the creator(s) of the Licensed Material",
            "indicate if You modified the Licensed Material",
            "indicate the Licensed Material is licensed under this Public License",
        ),
        ("Attribution 4.0 International",),
    ),
    Licence(
        "CC0-1.0",
        "None: its rights are waived as far as the law allows.",
        ("overtly, fully, permanently, irrevocably and unconditionally waives",),
        ("CC0 1.0 Universal",),
    ),
)


def name_of(text: str) -> str:
    """The name under which a licence is known here; the text itself where it is not."""
    plain = text.strip().lower()
    known = {licence.name.lower(): licence.name for licence in KNOWN} | OTHER_NAMES
    return known.get(plain, text.strip())


def asks(name: str, entries: Mapping[str, object] | None = None) -> str:
    """What a licence asks of a model made with it; `entries` are those of a models.yaml.

    NOT_LOOKED_UP where it is neither known here nor stands in an entry with its obligations.
    """
    wanted = name_of(name).lower()
    for licence in KNOWN:
        if licence.name.lower() == wanted:
            return f"{licence.asks} Check the licence file of the repository you copied."
    for entry in (entries or {}).values():
        found: JsonObject = entry if isinstance(entry, dict) else {}
        said = found.get("obligations")
        named = str(found.get("licence", "")).strip().lower()
        if named == wanted and isinstance(said, str) and said and said != NOT_LOOKED_UP:
            return said
    return NOT_LOOKED_UP


def named_by_file(directory: Path) -> str:
    """The licence that a model's licence file begins as; '' where there is none or another."""
    for path in sorted(directory.iterdir()):
        if path.name.lower() in FILES and path.is_file():
            with path.open("rb") as file:
                text = " ".join(file.read(HEAD).decode("utf-8", "replace").split())
            for licence in KNOWN:
                if all(words in text for words in licence.title):
                    return licence.name
    return ""
