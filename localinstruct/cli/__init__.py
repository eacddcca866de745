"""The command line: one file per group of commands, the options they share, and what the terminal
shows of each."""
