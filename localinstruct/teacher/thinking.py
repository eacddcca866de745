"""Thoughts of a reasoning model, separated from its answer: none becomes a row's text.

A server with a reasoning parser sends the two apart; else the thought stands in the text between
marks. A mark that is never closed makes all that follows a thought, one that was never opened (the
chat template had opened it) all before it. Not covered: thoughts without marks, and an answer that
itself contains these marks.
"""

import re

_BLOCK = re.compile(
    r"<(think|thinking|thought)>(.*?)(?:</\1>|\Z)|\[THINK\](.*?)(?:\[/THINK\]|\Z)", re.DOTALL
)
_LATE_END = re.compile(r"(.*)(?:</think(?:ing)?>|</thought>|\[/THINK\])", re.DOTALL)


def split_thinking(text: str) -> tuple[str, str]:
    """(answer, thinking); the text as it is, and "", when there is no thought in it."""
    thoughts: list[str] = []

    def take(match: re.Match[str]) -> str:
        thoughts.append(next(group for group in match.groups()[1:] if group is not None))
        return ""

    answer = _BLOCK.sub(take, text)
    if late := _LATE_END.match(answer):
        thoughts.insert(0, late[1])
        answer = answer[late.end() :]
    thinking = "\n\n".join(thought.strip() for thought in thoughts if thought.strip())
    return (answer.lstrip() if answer != text else text), thinking
