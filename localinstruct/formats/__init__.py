"""Readers and writers of every format people keep instruction data in.

Read: Self-Instruct seeds, Alpaca's JSON and regen.json, JSONL of instruction/input/output, our own
full rows, chat messages, ShareGPT conversations, TRL's preference pairs, Parquet of any of them;
the kind is seen from the content, never from the file's name. Written: alpaca, jsonl, messages,
sharegpt, parquet, preference. Bad lines are named all at once and nothing is half loaded. Not
covered: compressed files, CSV, tool calls and pictures in conversations.
"""

from localinstruct.formats.read import read_instances, read_rows
from localinstruct.formats.rows import Malformed, to_instances, user_turn
from localinstruct.formats.write import EXPORTS, ending_of, require_place, write
from localinstruct.store.durable import atomic_write, write_text

__all__ = [
    "EXPORTS",
    "Malformed",
    "atomic_write",
    "ending_of",
    "read_instances",
    "read_rows",
    "require_place",
    "to_instances",
    "user_turn",
    "write",
    "write_text",
]
