"""A table of numbers and words, as it stands in a text file."""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.report.errors import ReportError
from geomstats_vae.report.reading.delimited import (
    DELIMITERS,
    Delimited,
    is_missing,
    number,
    read_delimited,
)
from geomstats_vae.report.reading.header import find_header
from geomstats_vae.report.reading.parquet import read_parquet

# A point in a number; alone it is a missing value.
_POINT = re.compile(r"\d\.|\.\d")


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    rows : Delimited
        The file's rows.
    names : list of str or None
        Names of the columns; None where the file does not give any.
    values : numpy.ndarray, shape=[n_rows, n_columns]
        Numbers, NaN where there is none.
    words : dict of int to dict of int to str
        For each column with words, its words by their rows.
    line_numbers : list of int
        Line of the file in which each row ends, from 1.
    assumptions : tuple of str
        What had to be assumed to read it.
    """

    rows: Delimited
    names: list[str] | None
    values: NDArray[np.float64]
    words: dict[int, dict[int, str]]
    line_numbers: list[int]
    assumptions: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file.

        Returns
        -------
        path : pathlib.Path
            Its path.
        """
        return self.rows.path

    def column(self, index: int) -> str:
        """Describe a column.

        Parameters
        ----------
        index : int
            Its number, from 0.

        Returns
        -------
        description : str
            Its name, or its number from 1 where it has none.
        """
        name = self.name(index)
        return f"column {name!r}" if name else f"column {index + 1}"

    def name(self, index: int) -> str:
        """Return the name of a column.

        Parameters
        ----------
        index : int
            Its number, from 0.

        Returns
        -------
        name : str
            Its name, empty where it has none.
        """
        return "" if self.names is None else self.names[index]

    def text(self, index: int) -> np.ndarray:
        """Return a column as it is written.

        Parameters
        ----------
        index : int
            Its number, from 0.

        Returns
        -------
        text : numpy.ndarray of str, shape=[n_rows]
            Its fields.
        """
        body = islice(self.rows.rows(), self.names is not None, None)
        return np.array([fields[index] for _, fields in body], dtype=str)


def read_table(path: Path) -> Table:
    """Read a table from a file.

    Parameters
    ----------
    path : pathlib.Path
        A text file, of which separator, decimal sign and header are found out, or a Parquet file.

    Returns
    -------
    table : Table
        Its columns.

    Raises
    ------
    ReportError
        If the file is no text, its rows are not of equal length, or decimal signs are mixed.
    """
    if path.suffix.lower() == ".parquet":
        rows = read_parquet(path)
        head = next(rows.rows())[1]
        values, words, line_numbers, _ = _fields(rows, True, len(head))
        return Table(rows, head, values, words, line_numbers, ())
    rows = read_delimited(path)
    assumptions = []
    if rows.n_comments:
        assumptions.append(f"Lines of comments at the top, {rows.n_comments}, are left out.")
    names, assumption = _names(rows)
    head = next(rows.rows())[1]
    if rows.delimiter != "," and len(head) > 1:
        assumptions.append(f"Columns are separated by {DELIMITERS[rows.delimiter]}.")
    if assumption is not None:
        assumptions.append(assumption)
    values, words, line_numbers, comma = _fields(rows, names is not None, len(names or head))
    if comma is not None:
        assumptions.append(f"Commas are decimal signs, as in {comma}.")
    return Table(rows, names, values, words, line_numbers, tuple(assumptions))


def _names(rows: Delimited) -> tuple[list[str] | None, str | None]:
    """Return the names of the columns, if any, and what had to be assumed."""
    head, *body = rows.sample()
    widths = {len(row) for row in body}
    if widths == {len(head) + 1} and all(number(name) is None for name in head):
        if all(row[-1] == "" for row in body):
            return [*head, ""], None
        # R's write.table names all columns but that of the names of the rows.
        return ["", *head], "The first row names all columns but the first."
    body = [row for row in body if len(row) == len(head)]
    is_header, assumption = find_header(head, body, decimal_comma=rows.delimiter != ",")
    return (head if is_header else None), assumption


def _fields(
    rows: Delimited, has_header: bool, width: int
) -> tuple[NDArray[np.float64], dict[int, dict[int, str]], list[int], str | None]:
    """Return numbers, words, numbers of lines and a number with a decimal comma, if any has one."""
    buffer, words, line_numbers = array("d"), defaultdict[int, dict[int, str]](dict), list[int]()
    decimal_comma = rows.delimiter != ","
    comma = point = None
    for line, fields in islice(rows.rows(), has_header, None):
        if len(fields) != width:
            raise ReportError(
                f"Expected rows of equal length separated by {DELIMITERS[rows.delimiter]} in "
                f"{rows.path}, got {len(fields)} fields in line {line} after {width} in line "
                f"{line_numbers[-1] if line_numbers else 1}; check the file's separators."
            )
        numbers, row_words = _read_row(fields, decimal_comma)
        for column, word in row_words.items():
            words[column][len(line_numbers)] = word
        if decimal_comma and (comma is None or point is None):
            read = [field for column, field in enumerate(fields) if column not in row_words]
            comma = comma or next((field for field in read if "," in field), None)
            point = point or next((field for field in read if _POINT.search(field)), None)
        buffer.extend(array("d", numbers))
        line_numbers.append(line)
    if comma is not None and point is not None:
        raise ReportError(
            f"Expected one decimal sign in {rows.path}, got {comma} and {point}; write numbers "
            "without signs between thousands."
        )
    return np.array(buffer).reshape(-1, width), dict(words), line_numbers, comma


def _read_row(fields: Sequence[str], decimal_comma: bool) -> tuple[list[float], dict[int, str]]:
    """Return the numbers of a row, NaN where there is none, and its words by their columns."""
    # Quick for rows of numbers. Python also reads names such as "12_3".
    if "_" not in "".join(fields):
        try:
            return list(map(float, fields)), {}
        except ValueError:
            pass
    numbers = [number(field, decimal_comma) for field in fields]
    words = {
        column: fields[column]
        for column, value in enumerate(numbers)
        if value is None and not is_missing(fields[column])
    }
    return [np.nan if value is None else value for value in numbers], words
