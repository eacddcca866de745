"""Walls around a teacher's functions: harmless programs try each of them, and are held back and
told apart; functions, asserts and mutants are what they should be.
Run: pytest tests/offline/test_code_runner.py"""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localinstruct.errors import UsageError
from localinstruct.offline import code_child, code_runner, landlock, seal
from localinstruct.offline.code_child import FAILED, FILES, MEMORY, NETWORK, PASSED, PROCESSES, SLOW
from localinstruct.offline.code_mutants import NotUsable, examine
from localinstruct.offline.code_runner import CodeRunner, missing, require_walls
from localinstruct.records import JsonObject
from tests.support.sealing import needs_namespaces, output

needs_landlock = pytest.mark.skipif(
    landlock.abi() < landlock.FILES_ABI, reason="no Landlock for files here"
)
AREA = """\
def area(width, height):
    # a negative side has none
    if width < 0 or height < 0:
        return 0
    return width * height


print(area(1, 2))
"""
TESTS = """\
assert area(2, 3) == 6
assert area(0, 5) == 0

def test_negative():
    assert area(-1, 3) == 0
    assert area(3, -1) == 0
"""


@pytest.fixture(scope="module")
def runner() -> Iterator[CodeRunner]:
    with CodeRunner(seconds=0.5, memory_mib=64) as one:
        yield one


def request(function: str = AREA, tests: str = TESTS, **more: Any) -> JsonObject:
    given = {"name": "area", "asserts": 3, "mutants": 8}
    return {"function": function, "tests": tests, **given, **more}


@needs_landlock
def test_a_file_is_neither_read_nor_written(runner: CodeRunner, tmp_path: Path) -> None:
    there = tmp_path / "there.txt"
    there.write_text("ours")
    for program in (
        f"open({str(there)!r}).read()",
        f"open({str(tmp_path / 'new.txt')!r}, 'w')",
        f"import os; os.unlink({str(there)!r})",
        f"import os; os.truncate({str(there)!r}, 0)",
        f"import os; os.listdir({str(tmp_path)!r})",
        f"import os; os.mkdir({str(tmp_path / 'made')!r})",
    ):
        assert runner.run(program)["outcome"] == FILES, program
    assert [one.name for one in tmp_path.iterdir()] == ["there.txt"]
    assert there.read_text() == "ours"


@needs_landlock
def test_no_connection_comes_to_a_port_of_ours(runner: CodeRunner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        came = list[object]()

        def listen() -> None:
            try:
                came.append(server.accept())
            except TimeoutError:
                return

        thread = threading.Thread(target=listen)
        thread.start()
        program = (
            f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))"
        )
        assert runner.run(program)["outcome"] == NETWORK
        thread.join()
    assert came == []
    assert runner.run("import socket; socket.socket(socket.AF_UNIX)")["outcome"] == NETWORK


@needs_landlock
@pytest.mark.parametrize(
    "program",
    [
        "import time; time.sleep(30)",
        "n = 0\nwhile True:\n    n += 1",
        "while True:\n    try:\n        n = 0\n    except BaseException:\n        pass",
    ],
)
def test_time_has_an_end(runner: CodeRunner, program: str) -> None:
    assert runner.run(program)["outcome"] == SLOW


@needs_landlock
@pytest.mark.parametrize("program", ["x = bytearray(100 * 2**20)", "x = [0] * 2**27"])
def test_memory_has_an_end(runner: CodeRunner, program: str) -> None:
    assert runner.run(program)["outcome"] == MEMORY
    assert runner.run("x = bytearray(2**20)")["outcome"] == PASSED


@needs_landlock
@pytest.mark.parametrize(
    "program",
    [
        "import os; os.fork()",
        "import os; os.kill(os.getppid(), 0)",
        "import os; os.execv('/bin/true', ['true'])",
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    ],
)
def test_no_other_process_is_made_or_reached(runner: CodeRunner, program: str) -> None:
    assert runner.run(program)["outcome"] in (PROCESSES, FILES, "raised an error")
    assert runner.run("x = 1")["outcome"] == PASSED  # the checker itself lives on


@needs_landlock
def test_what_fails_is_told_from_what_is_held_back(runner: CodeRunner) -> None:
    assert runner.run("assert 1 == 2")["outcome"] == FAILED
    said = runner.run("1 / 0")
    assert (said["outcome"], said["detail"]) == (
        "raised an error",
        "ZeroDivisionError: division by zero",
    )
    assert runner.run("raise SystemExit(0)")["outcome"] == "raised an error"


@needs_landlock
def test_one_text_leaves_nothing_for_the_next(runner: CodeRunner) -> None:
    assert runner.run("import math; math.left = 1")["outcome"] == PASSED
    assert runner.run("import math; math.left")["outcome"] == "raised an error"


@needs_landlock
def test_a_function_is_held_against_its_asserts_and_its_mutants(runner: CodeRunner) -> None:
    said = runner.check(request())
    assert (said["outcome"], said["asserts"]) == (PASSED, 4)
    assert "print" not in said["code"]
    assert "# a negative side has none" in said["code"]
    assert said["tests"].splitlines()[-1] == "assert area(3, -1) == 0"
    outcomes = {one["change"]: one["outcome"] for one in said["mutants"]}
    assert outcomes["line 5: Mult to Add"] == FAILED
    assert outcomes["line 3: Or to And"] == FAILED
    wrong = runner.check(request(AREA.replace("*", "+")))
    assert (wrong["outcome"], wrong["mutants"]) == (FAILED, [])
    assert wrong["detail"] == "line 1 of the tests"


@needs_landlock
def test_a_mutant_that_never_ends_is_a_failing_one(runner: CodeRunner) -> None:
    function = (
        "def area(n, step):\n    total = 0\n    while n > 0:\n        total += n\n"
        "        n -= step\n    return total\n"
    )
    tests = "assert area(3, 1) == 6\nassert area(0, 1) == 0\nassert area(4, 2) == 6\n"
    said = runner.check(request(function, tests))
    assert said["outcome"] == PASSED
    assert SLOW in [one["outcome"] for one in said["mutants"]] or all(
        one["outcome"] != PASSED for one in said["mutants"]
    )


@needs_landlock
def test_a_checker_that_is_gone_is_started_again() -> None:
    with CodeRunner(memory_mib=64) as one:
        assert one.run("x = 1")["outcome"] == PASSED
        process = one._process
        assert process is not None
        process.kill()
        process.wait()
        assert one.run("x = 1") == {"outcome": "was ended", "detail": "with its checker (-9)"}
        assert one.run("x = 1")["outcome"] == PASSED
        last = one._process
    assert last is not None
    assert last.returncode is not None


@needs_landlock
def test_the_walls_are_tried_and_a_missing_one_stops_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with CodeRunner(memory_mib=64) as one:
        one.prove()
    monkeypatch.setattr(
        code_runner, "_TRIALS", {FILES: "x = 1", SLOW: "import time; time.sleep(9)"}
    )
    with CodeRunner(memory_mib=64) as one, pytest.raises(UsageError) as caught:
        one.prove()
    assert "tried a file: found passed" in caught.value.message
    assert "too slow" not in caught.value.message


def test_without_the_seal_or_landlock_nothing_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(UsageError) as caught:
        require_walls("method.code")
    assert "--sealed" in caught.value.message
    assert "found none" in caught.value.message
    monkeypatch.setattr(landlock, "abi", lambda: 7)
    sealed = seal.Seal(True, "test", (), ())
    monkeypatch.setattr(seal, "status", lambda: sealed)
    assert missing() == []
    require_walls("method.code")


SEALED = """
from localinstruct.offline import seal
from localinstruct.offline.code_runner import CodeRunner, missing
seal.enter()
assert missing() == []
with CodeRunner(memory_mib=64) as runner:
    runner.prove()
    print(runner.run("assert 1 + 1 == 2")["outcome"])
"""


@needs_namespaces
@needs_landlock
def test_in_the_seal_the_walls_hold_too() -> None:
    assert output(SEALED).strip() == PASSED


@pytest.mark.parametrize(
    ("function", "tests", "reason"),
    [
        ("def area(:", TESTS, "function does not parse"),
        (AREA, "assert (", "tests do not parse"),
        ("def other():\n    return 1", TESTS, "no such function"),
        (AREA, "assert area(1, 1) == 1\nassert 1 == 1\nassert True", "too few asserts"),
        ("import os\n" + AREA, TESTS, "uses what it must not"),
        ("from pathlib import Path\n" + AREA, TESTS, "uses what it must not"),
        ("def area(w, h):\n    return open('x')", TESTS, "uses what it must not"),
        ("def area(w, h):\n    return ().__class__", TESTS, "uses what it must not"),
        ("class A:\n    pass\n" + AREA, "x = __import__('os')\n" + TESTS, "uses what it must not"),
        ("(" * 300 + ")" * 300, TESTS, "function does not parse"),
    ],
)
def test_what_is_no_small_function_with_asserts_is_named(
    function: str, tests: str, reason: str
) -> None:
    with pytest.raises(NotUsable) as caught:
        examine(function, tests, "area", 3, 4)
    assert caught.value.reason == reason


def test_mutants_change_one_thing_each_and_returning_nothing_comes_last() -> None:
    found = examine(AREA, TESTS, "area", 3, 20).mutants
    assert len({one.text for one in found}) == len(found)
    changes = [one.change for one in found]
    assert {"line 5: Mult to Add", "line 3: Lt to GtE", "line 4: 0 to 1"} <= set(changes)
    assert changes[-1].endswith("returns None")
    assert len(examine(AREA, TESTS, "area", 3, 2).mutants) == 2


def test_texts_that_are_too_long_are_not_sent() -> None:
    said = CodeRunner().check(request("x" * (code_child.LARGEST + 1)))
    assert said["outcome"] == "too long"
