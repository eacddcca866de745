"""Ways out, fired on purpose: each is a call that would send something if it could. Run in a child
by test_leaks.py.

    python -m tests.leaks MODE GROUP…     one line of JSON per leak on stdout

MODE: "sealed" (in the seal, the switches taken away), "switched" (in the seal, the switches as they
are: what they stop alone), "control" (unsealed, in a namespace that has a way out, to show that the
detectors see something) or "open" (the same with a world outside that answers, and the switches
taken away, to show that the leaks are leaks). Addresses and names are reserved for documentation,
except those that libraries bring themselves.
"""

from tests.leaks.general import GENERAL
from tests.leaks.leak import NOTHING_TO_FIRE, ROWS, Leak
from tests.leaks.libraries import LIBRARIES
from tests.leaks.models import HEAVY

CONTROL = tuple(
    leak for leak in GENERAL if leak.name in ("UDP datagram", "UDP message", "ctypes sendto")
)
GROUPS = {"general": GENERAL, "libraries": LIBRARIES, "heavy": HEAVY, "control": CONTROL}

__all__ = ["CONTROL", "GENERAL", "GROUPS", "HEAVY", "LIBRARIES", "NOTHING_TO_FIRE", "ROWS", "Leak"]
