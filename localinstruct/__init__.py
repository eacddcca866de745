"""localinstruct: self-instruct on one's own machine. Seeds in; dataset, fine-tuned student and
report out; nothing leaves."""

from localinstruct.offline import switches

__version__ = "0.1.0"

switches.enforce()
