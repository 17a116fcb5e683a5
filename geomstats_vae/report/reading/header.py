"""Whether the first row of a table names the columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from geomstats_vae.report.reading.delimited import is_missing, is_word, number

# From so many columns on, a first row 0, 1, 2, ... is no coincidence.
_MIN_COLUMNS = 5
_INTEGER = re.compile(r"[+-]?\d+")


def find_header(
    head: Sequence[str], body: Sequence[Sequence[str]], decimal_comma: bool
) -> tuple[bool, str | None]:
    """Find out whether the first row is a header.

    A row without numbers is one. So is a row with a word above a column of numbers. A row of
    numbers is one if it counts the columns, 0, 1, 2, ... or 1, 2, 3, ..., as pandas writes the
    names of an array's columns. With fewer than five columns that could also be a sample; then
    every column below must hold numbers with a fraction.

    Parameters
    ----------
    head : sequence of str
        Fields of the first row.
    body : sequence of sequence of str
        Fields of some rows below, as many in each.
    decimal_comma : bool
        Whether "1,5" is a number.

    Returns
    -------
    is_header : bool
        Whether it is a header.
    assumption : str or None
        What had to be assumed.
    """
    if not any(number(field, decimal_comma) is not None for field in head):
        return True, None
    columns = [list(column) for column in zip(*body, strict=True)]
    for name, column in zip(head, columns, strict=False):
        present = [field for field in column if not is_missing(field)]
        is_number = present and not any(is_word(field, decimal_comma) for field in present)
        if is_word(name, decimal_comma) and is_number:
            return True, None
    # An index of pandas has an empty name or one of its own.
    has_name = number(head[0], decimal_comma) is None
    names, values = list(head[has_name:]), columns[has_name:]
    if all(_INTEGER.fullmatch(name) for name in names) and body:
        is_index = head[0] == "" and (_counts(columns[0]) or _all_words(columns[0]))
        if is_index or _numbers_columns(names, body[0][has_name:], values):
            return True, (
                f"The first row holds the numbers {_shown(names)}; it is read as names of the "
                "columns."
            )
    return False, (
        "The first row holds numbers; it is read as a sample, and the columns have no names."
    )


def _numbers_columns(
    names: Sequence[str], following: Sequence[str], columns: Sequence[Sequence[str]]
) -> bool:
    """Whether integers in the first row are numbers of the columns, not a sample."""
    first = int(names[0])
    # A table in which every row goes on counting, such as numpy.arange, has no header.
    if not _counts(names, first) or _counts(following):
        return False
    if first in (0, 1) and len(names) >= _MIN_COLUMNS:
        return True
    has_fractions = all(
        any(not is_missing(field) and not _INTEGER.fullmatch(field) for field in column)
        for column in columns
    )
    return has_fractions and (first in (0, 1) or len(names) >= _MIN_COLUMNS)


def _counts(fields: Sequence[str], first: int | None = None) -> bool:
    """Whether fields are consecutive integers."""
    if not all(_INTEGER.fullmatch(field) for field in fields):
        return False
    start = int(fields[0]) if first is None else first
    return [int(field) for field in fields] == list(range(start, start + len(fields)))


def _all_words(fields: Sequence[str]) -> bool:
    return all(is_word(field) for field in fields)


def _shown(names: Sequence[str]) -> str:
    return f"{names[0]} to {names[-1]}" if _counts(names) else f"{names[0]}, ..., {names[-1]}"
