"""The command line: one file per group of commands, shared options, and terminal output."""
