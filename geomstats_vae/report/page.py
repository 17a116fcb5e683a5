"""The report's page: one HTML file that holds its pictures and asks for nothing else."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; }
h2 { margin-top: 3rem; }
figure { margin: 1.5rem 0; }
figure img { display: block; max-width: 100%; margin: 0 auto; background: #fff; }
figcaption { margin: 0.6rem auto 0; max-width: 46rem; font-size: 0.95rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.9rem; }
table { font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.8rem; border-bottom: 1px solid #8886; text-align: right; }
th { border-bottom: 2px solid #888; vertical-align: bottom; }
th.text, td.text { text-align: left; min-width: 6rem; }
summary { cursor: pointer; }
"""


@dataclass
class Page:
    """An HTML page that grows from top to bottom.

    Attributes
    ----------
    title : str
        Title of the page.
    parts : list of str
        HTML so far.
    """

    title: str
    parts: list[str] = field(default_factory=list)

    def heading(self, text):
        """Add a heading.

        Parameters
        ----------
        text : str
            Its text.
        """
        self.parts.append(f"<h2>{escape(text)}</h2>")

    def paragraph(self, text):
        """Add a paragraph.

        Parameters
        ----------
        text : str
            Its text.
        """
        self.parts.append(f"<p>{escape(text)}</p>")

    def figure(self, path, caption):
        """Add a picture with its caption.

        Parameters
        ----------
        path : pathlib.Path
            A PNG file, which is embedded.
        caption : str
            What the picture shows; it also stands in for the picture where that cannot be seen.
        """
        data = base64.b64encode(Path(path).read_bytes()).decode("ascii")
        text = escape(caption)
        self.parts.append(
            f'<figure><img src="data:image/png;base64,{data}" alt="{text}">'
            f"<figcaption>{text}</figcaption></figure>"
        )

    def table(self, header, rows, summary=None):
        """Add a table.

        Parameters
        ----------
        header : sequence of str
            Names of the columns.
        rows : sequence of sequence of str
            Cells. Columns whose cells are all numbers are aligned to the right.
        summary : str, optional
            If given, the table is folded away behind this text.
        """
        text = [not all(_is_number(row[k]) for row in rows) for k in range(len(header))]
        body = "".join(f"<tr>{_cells('td', row, text)}</tr>" for row in rows)
        table = (
            f'<div class="scroll"><table><thead><tr>{_cells("th", header, text)}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )
        if summary is not None:
            table = f"<details><summary>{escape(summary)}</summary>{table}</details>"
        self.parts.append(table)

    def html(self):
        """Return the page.

        Returns
        -------
        html : str
            A whole document.
        """
        title = escape(self.title)
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
            + "\n".join(self.parts)
            + "\n</body>\n</html>\n"
        )


def _cells(tag, cells, text):
    return "".join(
        f"<{tag}{' class=text' if is_text else ''}>{escape(cell)}</{tag}>"
        for cell, is_text in zip(cells, text, strict=True)
    )


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True
