"""The report's page: one HTML file that holds its pictures and asks for nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

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
    """A heading, a paragraph or a list.

    Attributes
    ----------
    kind : str, {'heading', 'paragraph', 'items', 'files'}
        Which of them it is.
    text : str or sequence of str
        Its text, or that of each item; of files, their names and what they hold.
    anchor : str
        Name of a heading in links.
    """

    kind: str
    text: Any
    anchor: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture with its caption.

    Attributes
    ----------
    data : str
        A file in base 64.
    kind_of_file : str
        The file's kind, as in "png".
    caption : str
        What the picture shows.
    alt : str
        What the picture tells, for those who cannot see it.
    size : tuple of int
        Width and height in pixels; zeros if they are not known.
    axes : Axes or None
        Where the axes are whose values are shown beside the pointer.
    """

    kind: ClassVar[str] = "picture"
    data: str
    kind_of_file: str
    caption: str
    alt: str
    size: tuple[int, int] = (0, 0)
    axes: PictureAxes | None = None


@dataclass(frozen=True)
class PictureAxes:
    """Where the axes of a map lie in a picture.

    Attributes
    ----------
    box : tuple of float
        Left, top, width and height, as shares of the picture's width and height.
    extent : tuple of float
        Left, right, bottom and top in latent coordinates.
    curves : bool
        Whether the numbered curves are drawn there.
    grid : bool
        Whether it is the map of which values are known.
    """

    box: tuple[float, float, float, float]
    extent: tuple[float, float, float, float]
    curves: bool = False
    grid: bool = False


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
    findings : list of str
        Sentences that the page opens with.
    facts : list of tuple of str
        Names and values that stand below them.
    values : dict
        What is shown beside the pointer: codes, curves and the values of a map.
    parts : list of Text, Picture or Table
        What the page shows.
    """

    title: str
    findings: list[str] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    parts: list[Text | Picture | Table] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Add a heading; the contents link to it.

        Parameters
        ----------
        text : str
            Its text.
        """
        number = 1 + len(self.headings)
        self.parts.append(Text("heading", text, f"part-{number}"))

    @property
    def headings(self) -> list[Text]:
        """The headings.

        Returns
        -------
        headings : list of Text
            In their order.
        """
        return [part for part in self.parts if part.kind == "heading"]  # type: ignore[misc]

    def paragraph(self, text: str) -> None:
        """Add a paragraph.

        Parameters
        ----------
        text : str
            Its text.
        """
        self.parts.append(Text("paragraph", text))

    def items(self, texts: Sequence[str]) -> None:
        """Add a list.

        Parameters
        ----------
        texts : sequence of str
            Its items.
        """
        self.parts.append(Text("items", list(texts)))

    def files(self, files: Mapping[str, str]) -> None:
        """Add a list of files beside the page, with links.

        Parameters
        ----------
        files : dict of str to str
            What each file holds, by its name.
        """
        self.parts.append(Text("files", list(files.items())))

    def figure(
        self,
        image: bytes,
        caption: str,
        alt: str | None = None,
        *,
        size: tuple[int, int] = (0, 0),
        axes: PictureAxes | None = None,
    ) -> None:
        """Add a picture with its caption.

        Parameters
        ----------
        image : bytes
            A PNG or WebP file, which is embedded.
        caption : str
            What the picture shows.
        alt : str, optional
            What it tells, for those who cannot see it; the caption by default.
        size : tuple of int
            Width and height in pixels.
        axes : PictureAxes, optional
            Where the axes of a map are, so that values are shown beside the pointer.
        """
        data = base64.b64encode(image).decode("ascii")
        kind = "webp" if image[8:12] == b"WEBP" else "png"
        self.parts.append(Picture(data, kind, caption, alt or caption, size, axes))

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
        return template.render(page=self)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
