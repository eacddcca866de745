"""Remove characters that nobody typed: control, zero-width and bidi ones, Windows newlines.

Teachers copy them from web text; in a data set they are noise, and some can hide text from a
reader. Those with a meaning stay: joiners inside emoji and inside Persian or Indic words,
variation selectors, flags made of tags. Not covered: look-alike letters and Unicode normal forms;
the text itself is left as written.
"""

import re

_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_UNSEEN = re.compile(
    # a black flag with tag characters: England, Scotland, Wales
    "(?P<keep>\U0001f3f4[\U000e0020-\U000e007f]+"
    "|(?<=[^\x00-\x7f])[\u200c\u200d](?=[^\x00-\x7f]))"  # a joiner between two letters or emoji
    "|[\x00-\x08\x0e-\x1f\x7f-\x9f]"  # control characters other than tab and newline
    # soft hyphen, zero-width, annotation marks
    "|[\u00ad\u034f\u180e\u200b-\u200d\u2060-\u2064\ufeff\ufff9-\ufffb]"
    "|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # bidi marks, embeddings, overrides, isolates
    "|[\ud800-\udfff\U000e0000-\U000e007f]"  # half a surrogate pair, stray tag characters
)


def clean(text: str) -> str:
    """Remove unseen characters and unify newlines; the result can always be written as UTF-8."""
    return _UNSEEN.sub(lambda match: match["keep"] or "", _NEWLINES.sub("\n", text))
