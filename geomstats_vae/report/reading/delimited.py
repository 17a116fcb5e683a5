"""Text files of rows: which sign separates their fields, and which fields are numbers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from geomstats_vae.report.errors import ReportError, first_line

# Separators in the order in which they are preferred where two fit equally well. Blanks come last:
# any number of them in a row separates two fields.
_BLANKS = " "
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", _BLANKS: "blanks"}
# Rows that a separator is chosen by.
_N_SNIFFED = 200
_MISSING = frozenset(["", "na", "n/a", "nan", "<na>", "null", "none", "?", "-", "."])
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Delimited:
    """Rows of fields.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    lines : sequence of str
        Its lines, with their ends.
    delimiter : str
        The sign between two fields; a blank stands for any number of blanks.
    n_comments : int
        Lines at the top of the file that start with "# " and are no part of ``lines``.
    """

    path: Path
    lines: Sequence[str]
    delimiter: str
    n_comments: int = 0

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Iterate over the rows. Empty lines are none.

        Yields
        ------
        number : int
            Number of the line in which the row ends, from 1.
        fields : list of str
            Its fields, without blanks around them.

        Raises
        ------
        ReportError
            If the text cannot be split into fields.
        """
        if self.delimiter == _BLANKS:
            reader = csv.reader(
                (" ".join(line.split()) for line in self.lines), delimiter=self.delimiter
            )
        else:
            reader = csv.reader(self.lines, delimiter=self.delimiter, skipinitialspace=True)
        try:
            for row in reader:
                fields = [field.strip() for field in row]
                if fields not in ([], [""]):
                    yield self.n_comments + reader.line_num, fields
        except csv.Error as error:
            raise ReportError(
                f"Expected rows of fields in {self.path}, got a line {reader.line_num} that "
                f"cannot be split ({first_line(error)}); write the file as CSV."
            ) from error

    def sample(self) -> list[list[str]]:
        """Return the first rows.

        Returns
        -------
        rows : list of list of str
            Fields of 200 rows at most.
        """
        return [fields for _, (_, fields) in zip(range(_N_SNIFFED), self.rows(), strict=False)]


def read_delimited(path: Path, delimiters: Sequence[str] = tuple(DELIMITERS)) -> Delimited:
    """Read a text file and find out what separates its fields.

    A separator fits if it splits all rows into as many fields, of which most are numbers. The
    choice is made on the first 200 rows.

    Parameters
    ----------
    path : pathlib.Path
        The file, in UTF-8.
    delimiters : sequence of str
        Separators to try, the preferred ones first.

    Returns
    -------
    rows : Delimited
        The file; a comma separates its fields if nothing else does.

    Raises
    ------
    ReportError
        If the file is no text or holds no rows.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(
            f"Expected text in {path}, got a file that cannot be read ({first_line(error)}); "
            "save it as UTF-8."
        ) from error
    lines = io.StringIO(text).readlines()
    # numpy.savetxt starts its header so.
    n_comments = next((k for k, line in enumerate(lines) if not line.startswith("# ")), len(lines))
    lines = lines[n_comments:]
    if not any(line.strip() for line in lines):
        raise ReportError(
            f"Expected rows of numbers in {path}, got an empty file; write one sample in each row."
        )
    candidates = [Delimited(path, lines, delimiter, n_comments) for delimiter in delimiters]
    # The first of the best.
    return max(candidates, key=lambda candidate: _fitness(candidate.sample(), candidate.delimiter))


def _fitness(rows: Sequence[Sequence[str]], delimiter: str) -> tuple[bool, bool, float]:
    """Rank a separator: splits rows, into as many fields, of which this share are numbers."""
    widths = {len(row) for row in rows[1:] or rows}
    fields = [field for row in rows for field in row]
    numbers = sum(number(field, delimiter != ",") is not None for field in fields)
    splits = max(widths) > 1
    return splits, splits and len(widths) == 1, numbers / len(fields)


def number(field: str, decimal_comma: bool = False) -> float | None:
    """Read a number.

    Parameters
    ----------
    field : str
        Text without blanks around it.
    decimal_comma : bool
        Whether "1,5" is a number.

    Returns
    -------
    number : float or None
        None where the text is no number. Names such as "12_3" are none, though Python reads 123.
    """
    try:
        return None if "_" in field else float(field)
    except ValueError:
        pass
    is_decimal = decimal_comma and _DECIMAL_COMMA.fullmatch(field)
    return float(field.replace(",", ".")) if is_decimal else None


def is_missing(field: str) -> bool:
    """Whether a field stands for a value that is not there.

    Parameters
    ----------
    field : str
        Text without blanks around it.

    Returns
    -------
    is_missing : bool
        True for nothing, "NA", "NaN", "null" and the like.
    """
    return field.lower() in _MISSING


def is_word(field: str, decimal_comma: bool = False) -> bool:
    """Whether a field is neither a number nor a missing value.

    Parameters
    ----------
    field : str
        Text without blanks around it.
    decimal_comma : bool
        Whether "1,5" is a number.

    Returns
    -------
    is_word : bool
        True for all other text.
    """
    return not is_missing(field) and number(field, decimal_comma) is None
