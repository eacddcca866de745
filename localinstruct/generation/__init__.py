"""The generate stage: the inputs of a method, and the scheduler of its episodes."""
