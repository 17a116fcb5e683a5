"""What the columns of a table are: an index, classes, or features of samples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.report.errors import ReportError
from geomstats_vae.report.reading.labels import MAX_CLASSES
from geomstats_vae.report.reading.table import Table

_INDEX_NAMES = frozenset(["index", "id"])
_LABEL_NAMES = frozenset(["label", "labels", "class", "target"])
_LOGICAL = {"false": 0.0, "true": 1.0}
# Rows from which on a first column that counts them is their index though it has no name.
_MIN_COUNTED = 10
# Columns and values that a message names.
_N_SHOWN = 5


@dataclass(frozen=True)
class Columns:
    """What the columns of a table hold.

    Attributes
    ----------
    X : numpy.ndarray, shape=[n_rows, n_features]
        Features, finite.
    names : tuple of str
        Descriptions of the features, such as "column 'mass'".
    headers : tuple of str or None
        Names of the features, such as "mass"; None unless the table names them all.
    labels : numpy.ndarray of str, shape=[n_rows], or None
        Class of each row, where the table has a column of classes and they are wanted.
    assumptions : list of str
        What had to be assumed.
    """

    X: NDArray[np.float64]
    names: tuple[str, ...]
    headers: tuple[str, ...] | None
    labels: np.ndarray | None
    assumptions: list[str]


@dataclass
class _Roles:
    """What each column is, as far as it is known."""

    table: Table
    features: list[int]
    classes: list[int] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)

    def leave_out(self, column: int, reason: str) -> None:
        self.features.remove(column)
        self.assumptions.append(f"{reason}: {self.table.column(column)}.")


def split_columns(
    table: Table, wants_labels: bool = True, labels_column: str | None = None
) -> Columns:
    """Separate the features of a table from its index and its classes.

    An index is the first column if it has no name though others have one, or the name pandas gives
    to such a column; if its name is "index" or "id" and all its values differ; or if it counts the
    rows of a table without names. Classes are a column of words, or a column of whole numbers with
    the name "label", "class" or "target". A column of words that all differ is an index.

    Parameters
    ----------
    table : Table
        The table. Words "true" and "false" become numbers in its features.
    wants_labels : bool
        Whether the classes are needed; otherwise a column of classes is left out.
    labels_column : str, optional
        The column of classes: its name, or its number from 1 on, or from -1 on from the last.

    Returns
    -------
    columns : Columns
        Features and classes.

    Raises
    ------
    ReportError
        If a column can be none of these, values are missing, or no feature is left.
    """
    roles = _Roles(table, list(range(table.values.shape[1])))
    _leave_empty_out(roles)
    asked = None if labels_column is None else _named_column(table, labels_column)
    if asked in roles.features:
        roles.features.remove(asked)
    values = _with_logical(roles)
    _find_index(roles, values)
    _find_classes(roles, values)
    if asked is None:
        labels = _labels(roles, wants_labels)
    else:
        _labels(roles, wants_labels=False)
        labels = _text_of_classes(table, asked)
    if not roles.features:
        raise ReportError(f"Expected columns of numbers in {table.path}, got none; add features.")
    X = values[:, roles.features]
    _check_finite(roles, X)
    names = tuple(map(table.column, roles.features))
    headers = tuple(map(table.name, roles.features))
    return Columns(X, names, headers if all(headers) else None, labels, roles.assumptions)


def _named_column(table: Table, name: str) -> int:
    """Find a column by its name, or by its number from 1 on or from -1 on."""
    if table.names is not None and name in table.names:
        return table.names.index(name)
    n_columns = table.values.shape[1]
    number = int(name) if re.fullmatch(r"[+-]?[0-9]{1,9}", name) else 0
    if 1 <= abs(number) <= n_columns:
        return number - 1 if number > 0 else n_columns + number
    names = [repr(name) for name in table.names or () if name][:_N_SHOWN]
    known = f", such as {', '.join(names)}" if names else ", which have no names"
    raise ReportError(
        f"Expected the name of a column of classes in {table.path}, or its number from 1 to "
        f"{n_columns}, got {name!r} for {n_columns} columns{known}; pass --labels-column NAME or "
        "NUMBER."
    )


def _leave_empty_out(roles: _Roles) -> None:
    """Leave columns out that separators at the ends of the lines make."""
    for column in list(roles.features):
        is_empty = np.isnan(roles.table.values[:, column]).all()
        if roles.table.name(column) == "" and is_empty and column not in roles.table.words:
            roles.leave_out(column, "Empty and left out")


def _with_logical(roles: _Roles) -> NDArray[np.float64]:
    """Return the table's numbers, with "true" as 1 and "false" as 0."""
    table, logical = roles.table, []
    values = table.values.copy() if table.words else table.values
    for column, words in table.words.items():
        read = [_LOGICAL.get(word.lower()) for word in words.values()]
        if None not in read and np.isnan(np.delete(values[:, column], list(words))).all():
            values[list(words), column] = read
            logical.append(column)
    if logical:
        roles.assumptions.append(f"In {_listed(table, logical)}, true is read as 1, false as 0.")
    return values


def _find_index(roles: _Roles, values: NDArray[np.float64]) -> None:
    """Leave out what pandas and others write before the first column of a table."""
    while len(roles.features) > 1 and _is_index(roles.table, values, roles.features[0]):
        roles.leave_out(roles.features[0], "Read as the index of the rows and left out")
        if roles.table.names is None:
            return


def _is_index(table: Table, values: NDArray[np.float64], column: int) -> bool:
    name, column_values = table.name(column).lower(), values[:, column]
    if table.names is None:
        counted = [np.arange(first, first + len(values)) for first in (0, 1)]
        counts = any(np.array_equal(column_values, numbers) for numbers in counted)
        return len(values) >= _MIN_COUNTED and counts
    if (name == "" and any(table.names)) or name.startswith("unnamed: 0"):
        return True
    if name not in _INDEX_NAMES:
        return False
    written = table.text(column)
    is_whole = np.array_equal(column_values, np.round(column_values))
    return len(np.unique(written)) == len(written) and (is_whole or _is_words(table, column))


def _is_words(table: Table, column: int) -> bool:
    """Whether most of a column's fields are words."""
    return 2 * len(table.words.get(column, {})) > len(table.values)


def _find_classes(roles: _Roles, values: NDArray[np.float64]) -> None:
    """Leave out columns of words, which are classes or an index, and numbers of classes."""
    table = roles.table
    for column in list(roles.features):
        if np.isnan(values[:, column]).any() and column in table.words:
            _place_words(roles, column)
        elif table.name(column).lower() in _LABEL_NAMES and len(roles.features) > 1:
            numbers = values[:, column]
            if np.array_equal(numbers, np.round(numbers)) and _n_distinct(numbers) <= MAX_CLASSES:
                roles.features.remove(column)
                roles.classes.append(column)


def _place_words(roles: _Roles, column: int) -> None:
    table, words = roles.table, list(roles.table.words[column].values())
    shown = ", ".join(repr(word) for word in sorted(set(words))[:_N_SHOWN])
    line = table.line_numbers[next(iter(table.words[column]))]
    if not _is_words(table, column):
        raise ReportError(
            f"Expected numbers in {table.column(column)} of {table.path}, got {len(words)} that "
            f"are none, such as {shown}, the first in line {line}; correct them or leave these "
            "rows out."
        )
    text = table.text(column)
    n_distinct = _n_distinct(text)
    if n_distinct == len(text):
        roles.leave_out(column, "Words that all differ, read as an index and left out")
    elif n_distinct <= MAX_CLASSES:
        roles.features.remove(column)
        roles.classes.append(column)
    else:
        raise ReportError(
            f"Expected numbers, or at most {MAX_CLASSES} classes, in {table.column(column)} of "
            f"{table.path}, got {n_distinct} different values such as {shown}; leave the column "
            "out, or write numbers in their place."
        )


def _labels(roles: _Roles, wants_labels: bool) -> np.ndarray | None:
    table, classes = roles.table, roles.classes
    if not classes:
        return None
    named = _listed(table, classes)
    if not wants_labels:
        roles.assumptions.append(f"Classes in {named} are left out: others are given.")
        return None
    if len(classes) > 1:
        raise ReportError(
            f"Expected one column of classes in {table.path}, got {named}; name it by "
            "--labels-column, or leave all but one out."
        )
    labels = _text_of_classes(table, classes[0])
    roles.assumptions.append(f"Read as the classes, {_n_distinct(labels)} different ones: {named}.")
    return labels


def _text_of_classes(table: Table, column: int) -> np.ndarray:
    missing = _missing_labels(table, column)
    if missing:
        raise ReportError(
            f"Expected a class in every row of {table.path}, got {len(missing)} missing in "
            f"{table.column(column)}, the first in line {table.line_numbers[missing[0]]}; fill "
            "them or leave these rows out."
        )
    return table.text(column)


def _missing_labels(table: Table, column: int) -> list[int]:
    words, values = table.words.get(column, {}), table.values[:, column]
    return [int(row) for row in np.flatnonzero(np.isnan(values)) if row not in words]


def _check_finite(roles: _Roles, X: NDArray[np.float64]) -> None:
    """Raise if values are missing or infinite, and say where and how many."""
    bad = ~np.isfinite(X)
    if not bad.any():
        return
    table, counts = roles.table, bad.sum(axis=0)
    worst = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    shown = [f"{table.column(roles.features[k])} ({counts[k]})" for k in worst[:_N_SHOWN]]
    more = f" and {len(worst) - _N_SHOWN} more columns" if len(worst) > _N_SHOWN else ""
    rows = np.flatnonzero(bad.any(axis=1))
    raise ReportError(
        f"Expected a finite number in every field of {table.path}, got missing or infinite values "
        f"in {', '.join(shown)}{more}, the first in line {table.line_numbers[rows[0]]}; fill them, "
        f"or leave out these columns or the {len(rows)} of {len(X)} rows that have some."
    )


def _n_distinct(values: np.ndarray) -> int:
    return len(np.unique(values))


def _listed(table: Table, columns: Sequence[int]) -> str:
    shown = ", ".join(table.column(column) for column in columns[:_N_SHOWN])
    more = len(columns) - _N_SHOWN
    return shown if more <= 0 else f"{shown} and {more} more columns"
