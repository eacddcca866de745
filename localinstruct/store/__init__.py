"""The run directory: its SQLite store, its lock, its checksums, and files that are written whole or
not at all."""
