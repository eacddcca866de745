"""The commands that have a file of their own, by what they are about; cli.py puts them together."""
