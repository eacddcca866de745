"""Base against student: answers, scores, their uncertainty, and the verdict in one sentence."""
