"""Chat: pieces in, history kept by each side, commands obeyed; on a scripted server, through a pipe
and on a terminal."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localinstruct import console
from localinstruct.cli import chat as chat_module
from localinstruct.cli.chat import GrowingAnswer, Talk, _converse
from localinstruct.errors import DataError, RunInUse, TeacherError
from localinstruct.evaluation.answers import question_in
from localinstruct.export.served import Served, require_free
from localinstruct.records import Instance, Prompt
from localinstruct.teacher import Sampling
from localinstruct.teacher.client import Client
from tests.support.openai_server import Reply, failure, serving_script, streamed

SAMPLING = Sampling(temperature=0.0, max_tokens=20)
Seen = list[tuple[str, dict[str, Any]]]


def reply(path: str, request: dict[str, Any], count: int) -> Reply:
    """Answers with the model's name and how much it was shown."""
    if "refuse" in json.dumps(request):
        return 400, failure("too long for the context")
    talk = "messages" in request
    size = len(request["messages"]) if talk else request["prompt"].count("### Instruction")
    return 200, streamed(f" {request['model']}", " sa", f"w {size}\n", talk=talk)


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    with serving_script(tmp_path / "s", reply) as requests:
        yield requests


def talk(socket: Path, template: str = "chat", who: str = "student") -> Talk:
    def connect(name: str, sampling: Sampling) -> Client:
        return Client(
            f"unix://{socket}", name, chat=template == "chat", sampling=sampling, timeout=60
        )

    sides: Any = {side: Served(f"nano-{side}", None, connect) for side in ("base", "student")}  # type: ignore[arg-type]
    return Talk(sides, template, SAMPLING, chat_module.CHOICES[f"/{who}"])


def piped(
    monkeypatch: pytest.MonkeyPatch, talk: Talk, *lines: str, json_lines: bool = False
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    _converse(talk, json_lines)


def test_a_pipe_gets_an_answer_for_every_line_and_nothing_else_on_stdout(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch, talk(tmp_path / "s"), "One?", "", "/what is this", "/base", "Two?")
    out, err = capsys.readouterr()
    assert out == "nano-student saw 1\nnano-student saw 3\nnano-base saw 1\n"
    assert ">" not in err  # no prompts
    assert [request["stream"] for _, request in seen] == [True] * 3


def test_each_side_keeps_its_own_turns_until_new(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch, talk(tmp_path / "s"), "One?", "/compare", "Two?", "/new", "Three?")
    asked = [
        (request["model"], [turn["content"] for turn in request["messages"]]) for _, request in seen
    ]
    assert asked[0] == ("nano-student", ["One?"])
    assert dict(asked[1:3]) == {
        "nano-base": ["Two?"],
        "nano-student": ["One?", "nano-student saw 1", "Two?"],
    }
    assert dict(asked[3:]) == {"nano-base": ["Three?"], "nano-student": ["Three?"]}
    assert capsys.readouterr().out.splitlines()[1:3] == [
        "base: nano-base saw 1",
        "student: nano-student saw 3",
    ]


def test_a_student_of_single_turns_says_so_and_is_asked_in_its_template(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch, talk(tmp_path / "s", "alpaca"), "One?", "Two?")
    out, err = capsys.readouterr()
    assert out == "nano-student saw 1\nnano-student saw 1\n"
    assert "each line is answered on its own" in err
    assert [path for path, _ in seen] == ["/v1/completions"] * 2
    assert seen[1][1]["prompt"].endswith("### Instruction:\nTwo?\n\n### Response:")
    assert seen[1][1]["stop"] == ["\n\n### Instruction:"]


def test_answers_for_programs_are_one_json_line_each(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch, talk(tmp_path / "s", who="compare"), "One?", "Two?", json_lines=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {
        "asked": "One?",
        "base": "nano-base saw 1",
        "student": "nano-student saw 1",
        "cut": [],
    }
    assert len(lines) == 2


@pytest.mark.parametrize("template", ["chat", "alpaca"])
def test_a_cut_answer_says_so_and_what_to_type(
    template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def cut_base(path: str, request: dict[str, Any], count: int) -> Reply:
        end = "length" if request["model"] == "nano-base" else "stop"
        return 200, streamed("so", " on", talk="messages" in request, end=end)

    with serving_script(tmp_path / "s", cut_base):
        piped(monkeypatch, talk(tmp_path / "s", template), "One?", "/base", "Two?")
        said = capsys.readouterr().err
        assert said.count("cut at") == 1
        assert "(base: cut at 20 tokens; for more: --max-tokens 40)" in said
        both = talk(tmp_path / "s", template, "compare")
        piped(monkeypatch, both, "Three?", "Four?", json_lines=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["cut"] for line in lines] == [["base"]] * 2


def test_a_refused_line_is_told_and_the_talk_goes_on(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch, talk(tmp_path / "s"), "One?", "refuse this", "Two?")
    out, err = capsys.readouterr()
    assert out == "nano-student saw 1\nnano-student saw 3\n"  # what was refused is not remembered
    assert "too long for the context" in err
    assert "/new begins anew" in err


def test_on_a_terminal_an_unknown_command_is_not_asked(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = iter(["/bse", "/base", "Hi", None])
    prompts: list[str] = []
    monkeypatch.setattr(console, "is_typed", lambda: True)
    monkeypatch.setattr(console, "ask", lambda prompt: (prompts.append(prompt), next(typed))[1])
    _converse(talk(tmp_path / "s"), False)
    out, err = capsys.readouterr()
    assert out == "nano-base saw 1\n"
    assert err.count("/compare choose who answers") == 2
    assert prompts == ["student >", "student >", "base >", "base >"]


def test_ctrl_c_in_an_answer_goes_back_to_the_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> dict[str, str]:
        raise KeyboardInterrupt

    typed = iter(["Hi", "/quit"])
    monkeypatch.setattr(console, "is_typed", lambda: True)
    monkeypatch.setattr(console, "ask", lambda prompt: next(typed))
    monkeypatch.setattr(Talk, "ask", interrupted)
    _converse(talk(tmp_path / "s"), False)
    assert "(stopped; Ctrl-D ends)" in capsys.readouterr().err


def test_ctrl_c_at_the_prompt_ends_the_talk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(console, "ask", interrupted)
    monkeypatch.setattr(console, "is_typed", lambda: True)
    _converse(talk(tmp_path / "s"), False)
    monkeypatch.setattr(console, "is_typed", lambda: False)
    with pytest.raises(KeyboardInterrupt):
        _converse(talk(tmp_path / "s"), False)


def test_thoughts_are_not_shown_and_not_remembered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving_script(
        tmp_path / "s", lambda *_: (200, streamed("<thi", "nk>hm, ", "2?</think>", "Two", "."))
    ):
        said = talk(tmp_path / "s")
        assert said.ask("1 + 1?", [GrowingAnswer().grow]) == {"student": "Two."}
    assert [turn.content for turn in said.history["student"]] == ["1 + 1?", "Two."]
    assert capsys.readouterr().out.endswith("Two.")


def test_a_server_that_breaks_off_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(self: Client, attempt: int) -> None:
        pass

    monkeypatch.setattr(Client, "_pause", at_once)
    with (
        serving_script(tmp_path / "s", lambda *_: None) as seen,
        pytest.raises(TeacherError, match="broke off"),
    ):
        talk(tmp_path / "s").ask("Hi", [print])
    assert len(seen) == 6
    with (
        serving_script(tmp_path / "t", lambda *_: (404, failure("no such model"))),
        pytest.raises(TeacherError, match=r"refuses: .*no such model"),
    ):
        talk(tmp_path / "t").ask("Hi", [print])
    with (
        serving_script(tmp_path / "u", lambda *_: (400, failure("too long"))),
        pytest.raises(DataError, match="too long"),
    ):
        talk(tmp_path / "u").ask("Hi", [print])


def test_a_chat_model_trained_on_alpacas_template_is_asked_in_that(
    seen: Seen, tmp_path: Path
) -> None:
    """A student whose base is a chat model: its evaluation prompts are texts to go on with, not
    turns of a chat."""
    import asyncio

    async def ask(prompt: Prompt) -> None:
        client = Client(f"unix://{tmp_path / 's'}", "m", chat=True, sampling=SAMPLING, timeout=60)
        _ = [piece async for piece in client.stream(prompt)]
        await client.close()

    asyncio.run(ask(question_in(Instance("Hi"), "alpaca", 5)))
    assert [path for path, _ in seen] == ["/v1/completions"]


def test_columns_show_both_whole_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with console.side_by_side(["a", "b"]) as grow:
        grow(1, "se")
        grow(0, "first")
        grow(1, "second")
    assert capsys.readouterr().out == "a: first\nb: second\n"


def test_two_processes_do_not_serve_the_same_student(tmp_path: Path) -> None:
    import fcntl

    require_free(tmp_path, "vllm-chat")
    with (tmp_path / "vllm-chat.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(RunInUse, match="another process serves its student"):
            require_free(tmp_path, "vllm-chat")
        require_free(tmp_path, "vllm-serve")
