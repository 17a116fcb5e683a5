"""How objects show themselves in notebooks: a small table, without styles of its own."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def html_table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """Write a table of two columns.

    Parameters
    ----------
    title : str
        Stands above the table.
    rows : iterable of tuple
        What each row is about, and its value.

    Returns
    -------
    html : str
        The table; names and values are escaped.
    """
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(str(value))}</td></tr>'
        for name, value in rows
    )
    return f"<div><b>{escape(title)}</b><table>{cells}</table></div>"
