"""localinstruct: self-instruct on one's own machine. Seeds in; dataset, fine-tuned student and report out; nothing leaves."""

from localinstruct import offline

__version__ = "0.1.0"

offline.enforce()
