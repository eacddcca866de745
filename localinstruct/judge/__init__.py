"""Judging of answers by a model: grades after a rubric, and the better one of two.

Prompts out, strictly read verdicts in. Pure.
"""
