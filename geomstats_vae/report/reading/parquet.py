"""Tables in the Parquet format, which pandas reads."""

from __future__ import annotations

import io
from pathlib import Path

from geomstats_vae.report.errors import ReportError, first_line
from geomstats_vae.report.reading.delimited import Delimited

try:
    import pandas
except ImportError:  # geomstats brings it today
    pandas = None


def read_parquet(path: Path) -> Delimited:
    """Read a table from a Parquet file, as the rows that it would have as CSV.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    rows : Delimited
        Its rows; the first one names the columns.

    Raises
    ------
    ReportError
        If pandas or what it reads such files with is not installed, or the file is no such file.
    """
    if pandas is None:
        raise _not_installed(path, "pandas")
    try:
        frame = pandas.read_parquet(path)
    except ImportError as error:
        raise _not_installed(path, "pyarrow") from error
    except (OSError, ValueError) as error:  # pyarrow's errors are these
        raise ReportError(
            f"Expected a Parquet file in {path}, got a file that cannot be read "
            f"({first_line(error)}); write it by pandas.DataFrame.to_parquet."
        ) from error
    if not frame.size:
        raise ReportError(f"Expected rows of numbers in {path}, got an empty table; check it.")
    # Rounded to single precision, numbers would be written with fewer digits than they have.
    narrow = frame.select_dtypes("floating").columns
    frame = frame.astype(dict.fromkeys(narrow, "float64"))
    is_counted = isinstance(frame.index, pandas.RangeIndex)
    text = frame.to_csv(index=not is_counted, lineterminator="\n")
    return Delimited(path, io.StringIO(text).readlines(), ",")


def _not_installed(path: Path, package: str) -> ReportError:
    return ReportError(
        f"Expected {package} to read {path}, got none in this environment; pip install {package}, "
        "or save the table as .csv."
    )
