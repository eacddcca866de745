"""Torture: faults around the real program, with counts as parameters. `make torture` runs it and
writes docs/torture.md."""
