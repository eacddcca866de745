"""Prompts that are executed: a method's role "sandbox" goes to the runner, all others to a teacher.

The outcome comes back as a completion and is in the completion log before it is used, so that a run
repeats to the byte. Nothing is begun for methods that execute nothing.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from localinstruct.methods import MethodSection
from localinstruct.methods.code import SANDBOX
from localinstruct.offline.code_runner import CodeRunner, require_walls
from localinstruct.progress import Progress
from localinstruct.records import Completion, Prompt
from localinstruct.teacher import Teacher


@dataclass(frozen=True)
class WithSandbox:
    """A `Teacher` that executes what is to be executed, and asks another one the rest."""

    teacher: Teacher
    runner: CodeRunner

    async def complete(self, prompt: Prompt) -> list[Completion]:
        """The outcome as JSON, or the teacher's completions."""
        if prompt.role != SANDBOX:
            return await self.teacher.complete(prompt)
        try:
            found = await asyncio.to_thread(self.runner.check, json.loads(prompt.text))
        except asyncio.CancelledError:
            self.runner.stop()  # Ctrl-C waits for no function
            raise
        return [Completion(json.dumps(found, ensure_ascii=False))]


@contextmanager
def sandbox(method: MethodSection, progress: Progress) -> Iterator[CodeRunner | None]:
    """The runner of a method that executes, its walls tried; None for the others."""
    options = method.options
    if not getattr(options, "executes", False):
        yield None
        return
    require_walls(f"method.{method.name}")
    with CodeRunner(options.seconds, options.memory_mib) as runner:
        runner.prove()
        progress.say(
            "functions are executed in the seal, without files, network and processes; each wall "
            "was tried and held"
        )
        yield runner
