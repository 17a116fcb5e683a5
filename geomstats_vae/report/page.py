"""The report's page: one HTML file that holds its pictures and asks for nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined

# Everything that comes from the user is text: the template escapes it.
_ENVIRONMENT = Environment(
    loader=PackageLoader("geomstats_vae.report"),
    autoescape=True,
    trim_blocks=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)
_TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Text:
    """A heading or a paragraph.

    Attributes
    ----------
    kind : str, {'heading', 'paragraph'}
        Which of the two it is.
    text : str
        Its text.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Picture:
    """A picture with its caption.

    Attributes
    ----------
    data : str
        A PNG file in base 64.
    caption : str
        What the picture shows.
    """

    kind: ClassVar[str] = "picture"
    data: str
    caption: str


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    header : sequence of str
        Names of the columns.
    rows : sequence of sequence of str
        Cells, as many in each row as there are columns.
    summary : str or None
        Text that the table is folded away behind, if any.
    """

    kind: ClassVar[str] = "table"
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    summary: str | None = None

    @property
    def is_text(self) -> list[bool]:
        """Whether each column holds anything but numbers.

        Returns
        -------
        is_text : list of bool
            Such columns are aligned to the left, columns of numbers to the right.
        """
        columns = range(len(self.header))
        return [not all(_is_number(row[k]) for row in self.rows) for k in columns]


@dataclass
class Page:
    """An HTML page that grows from top to bottom.

    Attributes
    ----------
    title : str
        Title of the page.
    parts : list of Text, Picture or Table
        What the page shows.
    """

    title: str
    parts: list[Text | Picture | Table] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Add a heading.

        Parameters
        ----------
        text : str
            Its text.
        """
        self.parts.append(Text("heading", text))

    def paragraph(self, text: str) -> None:
        """Add a paragraph.

        Parameters
        ----------
        text : str
            Its text.
        """
        self.parts.append(Text("paragraph", text))

    def opening(self, text: str) -> None:
        """Put a paragraph before everything else.

        Parameters
        ----------
        text : str
            Its text.
        """
        self.parts.insert(0, Text("paragraph", text))

    def figure(self, png: bytes, caption: str) -> None:
        """Add a picture with its caption.

        Parameters
        ----------
        png : bytes
            A PNG file, which is embedded.
        caption : str
            What the picture shows; it also stands in for the picture where that cannot be seen.
        """
        data = base64.b64encode(png).decode("ascii")
        self.parts.append(Picture(data, caption))

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], summary: str | None = None
    ) -> None:
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
        self.parts.append(Table(header, rows, summary))

    def html(self) -> str:
        """Return the page.

        Returns
        -------
        html : str
            A whole document.
        """
        template = _ENVIRONMENT.get_template(_TEMPLATE)
        return template.render(title=self.title, parts=self.parts)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
