"""localinstruct: self-instruct on one's own machine. Seeds in; dataset, fine-tuned student and report out; nothing leaves."""

import os

from localinstruct import offline

__version__ = "0.1.0"

offline.enforce()
# Read by OpenMP when torch is first imported: threads that wait go to sleep. By default they spin, and where anything else
# computes they then take the core that they wait for: a training step took three to five times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
