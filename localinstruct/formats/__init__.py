"""Readers and writers of every format people keep instruction data in.

Read: Self-Instruct seeds, Alpaca and Dolly under the many names of their columns, our own full
rows, conversations (messages, ShareGPT, Gemini) with tools and thoughts, prompt and completion,
preference pairs, several answers for a prompt; as JSON, JSON Lines, CSV, TSV, Parquet or Arrow,
compressed or not, a file or a folder. The layout is seen from the content. Written: alpaca, jsonl,
messages, sharegpt, parquet, preference. Not covered: pictures in conversations, tables of Excel.
"""

from localinstruct.formats.fields import Malformed, Reading, parse_columns
from localinstruct.formats.read import Reader, Report, files_of, read_instances, read_rows
from localinstruct.formats.rows import to_instances, user_turn
from localinstruct.formats.write import EXPORTS, ending_of, require_place, write
from localinstruct.store.durable import atomic_write, write_text

__all__ = [
    "EXPORTS",
    "Malformed",
    "Reader",
    "Reading",
    "Report",
    "atomic_write",
    "ending_of",
    "files_of",
    "parse_columns",
    "read_instances",
    "read_rows",
    "require_place",
    "to_instances",
    "user_turn",
    "write",
    "write_text",
]
