"""A folder of documents as passages, cut at paragraphs and sentences.

    folder    walks it, sends each file to the reader, normalises its text -> Folder
    worker    the reader in a process of its own, with limits of memory and time
    readers   from a file of one of many types to its text
    decoding  from bytes to text, by mark, UTF-8, declaration or the named encoding
    packed    parts of slides and books, which are zip archives
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
