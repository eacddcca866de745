"""Keys of many rows in a Parquet file, and DuckDB over it: repeated questions, heads of questions.

What does not fit into MEMORY is sorted and joined on the disk, in the folder of decisions. DuckDB
sees that folder alone; it loads no extension, and cannot fetch one.
"""

import shutil
from collections.abc import Iterator
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Self

from localinstruct.cleaning.decisions import Decisions, Drop
from localinstruct.machine import cpu_count
from localinstruct.store.integrity import plain_words

if TYPE_CHECKING:
    import duckdb
    import numpy as np

FOLDER, FILE = "keys", "keys.parquet"
MEMORY = "1GB"
"""Memory of DuckDB; the rest goes to the disk."""
GROUP = 100_000
"""Rows that are written together."""
THERE, AGAIN, MORE = "there already", "repeated", "one more answer"
"""Reasons for which a row goes: it stands in a reference, its answer is there, there are enough."""

QUERY = f"""
WITH several AS (SELECT question FROM {{file}} GROUP BY question HAVING count(*) > 1),
numbered AS (
  SELECT seq, question, answer, is_reference, row_number() OVER (
    PARTITION BY question ORDER BY is_reference DESC, {{first}}seq) AS place
  FROM {{file}} SEMI JOIN several USING (question)),
marked AS (
  SELECT *, first_value(seq) OVER same AS same, row_number() OVER same AS again
  FROM numbered WINDOW same AS (PARTITION BY question, answer ORDER BY place)),
counted AS (
  SELECT *, first_value(seq) OVER asked AS head, first_value(is_reference) OVER asked AS is_there,
    count(*) FILTER (WHERE again = 1) OVER asked AS answers
  FROM marked WINDOW asked AS (PARTITION BY question ORDER BY place)),
ranked AS (
  SELECT *, first_value(answers) OVER (PARTITION BY question, answer ORDER BY place) AS rank
  FROM counted)
SELECT seq,
  CASE WHEN is_there = 1 THEN '{THERE}' WHEN rank > {{limit:d}} THEN '{MORE}' ELSE '{AGAIN}' END,
  CASE WHEN is_there = 1 OR rank > {{limit:d}} THEN head ELSE same END
FROM ranked WHERE is_reference = 0 AND (is_there = 1 OR again > 1 OR rank > {{limit:d}})
ORDER BY seq"""
"""Rows to drop, each with the reason and the row that stays in its place."""


class Keys:
    """Keys of the rows that nothing has dropped yet, for as long as it is open."""

    def __init__(self, store: Decisions, grade: str) -> None:
        self._store, self._grade = store, grade
        self._folder = store.folder / FOLDER
        self._file = f"read_parquet('{str(self._folder / FILE).replace(chr(39), chr(39) * 2)}')"

    def __enter__(self) -> Self:
        """Write the keys, and open DuckDB."""
        shutil.rmtree(self._folder, ignore_errors=True)  # of a process that was killed
        self._folder.mkdir(mode=0o700)
        with plain_words(self._folder / FILE):
            self._write()
        self._db = self._opened()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Close DuckDB, and delete the keys."""
        self._db.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def repeated(self, first: str, most: int | None, step: str) -> Iterator[Drop]:
        """Rows to drop: those whose answer is there, and answers over `most`.

        `first` is SQL by which the rows of a question are sorted before their numbers.
        """
        limit = most if most is not None else 2**62
        query = QUERY.format(file=self._file, first=first, limit=limit)
        found = self._db.execute(query)
        while rows := found.fetchmany(GROUP):
            for seq, reason, like in rows:
                yield Drop(seq, step, reason, "", 1.0, like)

    def heads(self, order: str) -> "np.ndarray":
        """(n,) int64: the first row of each question, in the order that SQL says."""
        query = f"SELECT min(seq) AS head FROM {self._file} GROUP BY question ORDER BY {order}"
        found: np.ndarray = self._db.execute(query).fetchnumpy()["head"]
        return found

    def _opened(self) -> "duckdb.DuckDBPyConnection":
        import duckdb

        folder = str(self._folder)
        database = duckdb.connect(
            config={
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "memory_limit": MEMORY,
                "temp_directory": folder,
                "threads": cpu_count(),
                "preserve_insertion_order": False,
            }
        )
        database.execute("SET allowed_directories = [$folder]", {"folder": folder})
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        return database

    def _write(self) -> None:
        import pyarrow
        from pyarrow import parquet

        key = pyarrow.binary(16)
        schema = pyarrow.schema(
            {
                "seq": pyarrow.int64(),
                "question": key,
                "answer": key,
                "is_reference": pyarrow.int8(),
                "length": pyarrow.int64(),
                "grade": pyarrow.float64(),
            }
        )
        found = self._store.select(
            "SELECT seq, question, answer, is_reference, length, "
            f"{self._grade} FROM rows WHERE reason IS NULL ORDER BY seq"
        )
        with parquet.ParquetWriter(self._folder / FILE, schema, compression="zstd") as file:
            while rows := list(islice(found, GROUP)):
                columns = [
                    pyarrow.array(values, field.type)
                    for values, field in zip(zip(*rows, strict=True), schema, strict=True)
                ]
                file.write_table(pyarrow.table(columns, schema))
