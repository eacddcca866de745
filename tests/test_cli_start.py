"""The command starts fast and imports nothing heavy."""

import resource
import subprocess
import sys

PROBE = """
import sys
from localinstruct.cli import main
sys.argv = ["localinstruct", "--help"]
try:
    main()
except SystemExit:
    pass
heavy = {"torch", "vllm", "transformers", "trl", "peft", "datasets", "sentence_transformers", "numpy", "openai"}
print("LOADED", sorted(heavy & set(sys.modules)))
"""


def test_help_imports_nothing_heavy() -> None:
    shown = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True).stdout
    assert "LOADED []" in shown
    assert "generate" in shown


def test_help_takes_little_cpu_time() -> None:
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "localinstruct", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.4, spent
