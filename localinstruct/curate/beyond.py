"""Requests beyond a text model's reach: acts in the world, the moment's news, the asker's own life.

`unanswerable.action` has the acts since version 1; here stand those since version 2. An act counts
with its object: a person to be reached, a device, a thing that somebody owns. A request that also
asks for a text ("turn on the charm and write …") is answered by that text.
"""

import re

from localinstruct.curate.absent import HOLDS_MATERIAL
from localinstruct.curate.texts import read_patterns

_PARTS = {name: f"(?:{parts[0][1]})" for name, parts in read_patterns("beyond").items()}
_BEYOND = re.compile(rf"(?:please |hey,? |can you |could you )?{_PARTS['beyond']}", re.IGNORECASE)
_BEGINS_BEYOND = re.compile(rf"\s*{_PARTS['begins']}\b", re.IGNORECASE)
_ACTS_FOR_ME = re.compile(
    rf"(?:please |hey,? |can you |could you |would you )?{_PARTS['acts']}", re.IGNORECASE
)
_ALSO_A_TEXT = re.compile(
    r"\b(?:and|then|to|by|,) (?:then )?(?:write|describe|explain|compose|list|tell (?:me"
    r"|us) (?:how|why|what|a)|draft"
    r"|summari[sz]e|give (?:me|us|an?)|create|suggest)\b",
    re.IGNORECASE,
)


def beyond_reach(instruction: str, given: str) -> str | None:
    """Find a request for the news of the moment, the asker's own things, or an act of a device.

    Only where it is the whole request: short, and without material of its own.
    """
    if len(instruction) > 160 or given.strip():
        return None
    asked = instruction.strip()
    match = _BEYOND.match(asked) if _BEGINS_BEYOND.match(instruction) else None
    match = match or _ACTS_FOR_ME.match(asked)
    if match is None or _ALSO_A_TEXT.search(asked) or HOLDS_MATERIAL.search(instruction):
        return None
    return repr(match[0][:80])
