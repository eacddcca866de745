"""The nano models we ship: a task grammar, the teacher and student trained on it, and how to build them again.

They prove that every part works on a bare CPU; they are not a source of useful data.
"""
