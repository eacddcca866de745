"""A folder of documents as passages, cut at paragraphs and sentences.

    folder    walks it, sends each file to the reader, normalises its text -> Folder
    worker    the reader in a process of its own, with limits of memory and time
    readers   from a file of one of five types to its text
    passages  from a text to pieces with their offsets

A file that cannot be read is named. Documents are strangers' files: none is followed, run or
fetched for, and a bad one costs only itself.
"""

from localinstruct.documents.folder import (
    Folder,
    Problem,
    folder_summary,
    read_folder,
    require_folder,
)

__all__ = ["Folder", "Problem", "read_folder", "require_folder", "folder_summary"]
