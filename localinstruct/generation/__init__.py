"""The generate stage: what a method starts from, and the scheduler that has many of its episodes in
flight."""
