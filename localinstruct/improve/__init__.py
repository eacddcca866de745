"""Rounds that improve a student: its weakest sides, rows for them, another training, the gain."""
