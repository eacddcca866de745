"""The run directory: its SQLite store, its lock, its checksums, and durable files."""
