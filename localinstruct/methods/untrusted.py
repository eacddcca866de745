"""Texts of strangers in a prompt: marks nobody can guess around them, and what betrays an answer
that obeyed them.

The marks and the canary (a word that the prompt says never to repeat) come from a secret of the
run. An answer with a mark, the canary, or a token that opens a turn was not made as it was asked.
Sentences of a passage that speak to a language model are found by their wording; whatever only they
say must not come back. Not covered: orders in a wording that is not recognised and that ask for
something the passage itself says, and orders in other languages than English.
"""

import re
from dataclasses import dataclass

from localinstruct.methods.support import sentences
from localinstruct.records import digest

ROLE_TOKENS = re.compile(
    r"<\|[^|>\n]*\|>|<\uff5c[^\n>]*\uff5c>|</?think\b|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|</?s>"
    r"|^[ \t]*(?:###[ \t]*)?(?:human|user|assistant|system|instruction|response)[ \t]*:[ "
    r"\t]*(?:\n|$)",
    re.IGNORECASE | re.MULTILINE,
)
_TO_A_MODEL = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass|do not follow|stop following)\b[^.!?]{0,60}"
    r"\b(?:instruct|prompt|rules?\b|directions?\b|guidelines?\b|above|previous|prior|earlier|preceding|everything)"
    r"|\b(?:system|developer|hidden) (?:prompt|message|instruction|note)"
    r"|\b(?:new|important|special|updated) instructions?\b"
    r"|\b(?:you are|act|behave|pretend)\b[^.!?]{0,20}\b(?:now|from now on|as if)\b"
    r"|\b(?:ai|language|chat) "
    r"?(?:model|assistant|bot)s?\b|\b(?:llm|chatgpt|chatbot)s?\b|\bassistants?\s*[:,]"
    r"|\b(?:answer|respond|reply|say|output|print|write|repeat|insert|include|append|end|begin|start)\b[^.!?]{0,60}"
    r"\b(?:only|exactly|instead|verbatim|with the (?:words?|phrase|sentence)|the "
    r"(?:word|phrase|sentence)s?"
    r"|every (?:answer|reply|response|question)|(?:your|all|any) "
    r"(?:answers?|repl(?:y|ies)|responses?))\b"
    r"|\b(?:reveal|repeat|print|show|leak)\b[^.!?]{0,40}\b(?:prompt|instructions?|above)\b",
    re.IGNORECASE,
)
_USUAL = (
    "all and answer answers any are but can did for from had has have her him his how into its "
    "may more most must not now "
    "one only our out question questions quotes sentences shall should than that the their them "
    "then there these they this "
    "those was were what when where which who why will with you your"
)


@dataclass(frozen=True, slots=True)
class Marks:
    """The lines around a stranger's text, and the word that must not come back."""

    begin: str
    end: str
    word: str
    canary: str


def marks_of(secret: str) -> Marks:
    """The marks that belong to a secret."""
    drawn = digest(["marks", secret])
    return Marks(f"<<<{drawn[:16]}", f"{drawn[:16]}>>>", drawn[:16], drawn[16:28])


def intrusion(text: str, marks: Marks) -> str | None:
    """What in a text has no business there; None when it is clean."""
    if marks.canary in text:
        return "canary repeated"
    if marks.word in text:
        return "delimiter echoed"
    return "role token" if ROLE_TOKENS.search(text) else None


def orders(passage: str) -> set[str]:
    """Words that stand only where the passage speaks to a model: from such a sentence to the end of
    its paragraph."""
    told, ordered, place = set[str](), set[str](), 0
    obeying = False
    for start, end in sentences(passage):
        obeying = (obeying and "\n\n" not in passage[place:start]) or bool(
            _TO_A_MODEL.search(passage[start:end])
        )
        (ordered if obeying else told).update(_words(passage[start:end]))
        place = end
    return ordered - told


def obeyed(text: str, passage: str, marks: Marks) -> str | None:
    """What betrays that a text about a passage was not made as it was asked; None when nothing
    does."""
    return intrusion(text, marks) or (
        "follows the document" if _words(text) & orders(passage) else None
    )


def _words(text: str) -> set[str]:
    usual = _USUAL.split()
    return {
        word for word in re.findall(r"\w+", text.casefold()) if len(word) >= 3 and word not in usual
    }
