"""Answers, judged by a model: which of two is better, what one deserves; prompts out, strictly read
verdicts in. Pure."""
