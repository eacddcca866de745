"""A folder of documents as passages: read, normalised, cut at paragraphs and sentences; what cannot
be read is named.

    folder    walks it, sends each file to the reader, normalises its text -> Folder (passages and problems)
    worker    the reader in a process of its own, with limits of memory and time
    readers   from a file of one of five types to its text
    passages  from a text to pieces with their offsets

Documents are strangers' files: none is followed, run or fetched for, and a bad one costs only
itself.
"""

from localinstruct.documents.folder import Folder, Problem, read_folder, require_folder, told

__all__ = ["Folder", "Problem", "read_folder", "require_folder", "told"]
