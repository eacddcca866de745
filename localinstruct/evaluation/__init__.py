"""Base against student: answers, scores, how sure one can be of them, and the verdict in one
sentence."""
