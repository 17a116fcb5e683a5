"""Sizes, annotations and constants of the package's source, read without importing it.

Run: ``python benchmarks/structure.py [PACKAGE] [--constants]``. PACKAGE is a folder, by default
this repository's ``geomstats_vae``.

- Length of a file: its lines.
- Length of a function: lines of its body, without the docstring and with it. The signature and the
  decorators do not count; comments and empty lines do. Functions within functions count by
  themselves, and as lines of the outer one.
- Public function: a function outside of functions, or a method, without a leading underscore in its
  name or that of its class. Annotated means that the result and all parameters but ``self`` or
  ``cls`` are.
- Numeric constant: a name in capitals that a module assigns a value with a number in it. ``A, B =
  1, 2`` are two. Coefficients of formulas are named below and counted apart.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PACKAGE = Path(__file__).parents[1] / "geomstats_vae"
# Constants of `geodesics` that belong to a formula and are nobody's choice, and the formula.
COEFFICIENTS = {
    "SECOND_ESTIMATE": "weight of the second error estimate of DOP853",
    "_BASIS": "coefficients of quintic B-splines",
    "_JET_BASIS": "the same, and those of their first and second derivatives",
}
MAX_FILE_LINES = 450
MAX_CONSTANTS = 25

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Function:
    """One function of a file.

    Attributes
    ----------
    file : str
        Path of its file in the package.
    name : str
        Its name, after that of its class if it is a method.
    lines, lines_with_docstring : int
        Length of its body.
    is_public : bool
        Whether it is not inside a function, and neither it nor its class has a leading underscore.
    is_annotated : bool
        Whether its result and all its parameters are.
    """

    file: str
    name: str
    lines: int
    lines_with_docstring: int
    is_public: bool
    is_annotated: bool


@dataclass(frozen=True)
class Structure:
    """What is measured of a package.

    Attributes
    ----------
    files : dict of str to int
        Lines of each file.
    functions : list of Function
        All functions and methods.
    constants : list of str
        Numeric constants of `geodesics`, as ``file: name``.
    coefficients : list of str
        Those among them that are coefficients of a formula, left out above.
    """

    files: dict[str, int]
    functions: list[Function]
    constants: list[str]
    coefficients: list[str]


def measure(package: Path = PACKAGE) -> Structure:
    """Measure a package.

    Parameters
    ----------
    package : pathlib.Path
        Its folder.

    Returns
    -------
    structure : Structure
        What was measured.
    """
    files: dict[str, int] = {}
    functions: list[Function] = []
    constants: list[str] = []
    coefficients: list[str] = []
    for path in sorted(package.rglob("*.py")):
        source, file = path.read_text(encoding="utf-8"), path.relative_to(package).as_posix()
        module = ast.parse(source)
        files[file] = len(source.splitlines())
        functions += _functions(module, file)
        if file.startswith("geodesics/"):
            for name in _numeric_constants(module):
                kind = coefficients if name in COEFFICIENTS else constants
                kind.append(f"{file}: {name}")
    return Structure(files, functions, constants, coefficients)


def _functions(
    node: ast.AST, file: str, outer: str = "", is_public: bool = True
) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Function):
            public = is_public and not child.name.startswith("_")
            yield _function(child, file, outer, public)
            yield from _functions(child, file, f"{outer}{child.name}.", is_public=False)
        elif isinstance(child, ast.ClassDef):
            public = is_public and not child.name.startswith("_")
            yield from _functions(child, file, f"{outer}{child.name}.", public)
        else:
            yield from _functions(child, file, outer, is_public)


def _function(node: _Function, file: str, outer: str, is_public: bool) -> Function:
    first, last = node.body[0], node.body[-1]
    documented = ast.get_docstring(node, clean=False) is not None
    whole = (last.end_lineno or last.lineno) - first.lineno + 1
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
    return Function(
        file=file,
        name=outer + node.name,
        lines=whole - docstring,
        lines_with_docstring=whole,
        is_public=is_public,
        is_annotated=_is_annotated(node),
    )


def _is_annotated(node: _Function) -> bool:
    given = node.args
    parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    named = [parameter for parameter in parameters if parameter is not None]
    if named and named[0].arg in ("self", "cls"):
        named = named[1:]
    return node.returns is not None and all(p.annotation is not None for p in named)


def _numeric_constants(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, ast.Assign):
            targets: list[ast.expr] = node.targets
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        else:
            continue
        if _holds_number(node):
            names = [part for target in targets for part in ast.walk(target)]
            yield from (n.id for n in names if isinstance(n, ast.Name) and n.id.isupper())


def _holds_number(node: ast.Assign | ast.AnnAssign) -> bool:
    return node.value is not None and any(
        isinstance(part, ast.Constant)
        and isinstance(part.value, (int, float))
        and not isinstance(part.value, bool)
        for part in ast.walk(node.value)
    )


def report(structure: Structure, n_longest: int = 8) -> str:
    """Write the figures in words.

    Parameters
    ----------
    structure : Structure
        What was measured.
    n_longest : int
        Files and functions to name.

    Returns
    -------
    text : str
        One figure per line.
    """
    files, functions = structure.files, structure.functions
    public = [function for function in functions if function.is_public]
    annotated = sum(function.is_annotated for function in public)
    all_annotated = sum(function.is_annotated for function in functions)
    lines = [
        f"files: {len(files)}, {sum(files.values())} lines; {_spread(list(files.values()))}",
        f"functions: {len(functions)}",
        f"  body without docstring: {_spread([f.lines for f in functions])}",
        f"  body with docstring: {_spread([f.lines_with_docstring for f in functions])}",
        f"public functions annotated: {annotated} of {len(public)}; all: {all_annotated} of "
        f"{len(functions)}",
        f"numeric constants of geodesics: {len(structure.constants)}, and "
        f"{len(structure.coefficients)} coefficients of formulas",
        "longest files:",
        *(f"  {n:4d} {file}" for file, n in sorted(files.items(), key=_by_size)[:n_longest]),
        "longest functions, without docstring:",
        *(
            f"  {f.lines:4d} {f.file}: {f.name}"
            for f in sorted(functions, key=lambda f: -f.lines)[:n_longest]
        ),
    ]
    return "\n".join(lines)


def _by_size(item: tuple[str, int]) -> int:
    return -item[1]


def _spread(lengths: list[int]) -> str:
    median, most = np.percentile(lengths, [50, 90])
    return f"median {median:g}, 90 % at most {most:g}, longest {max(lengths)} lines"


def main() -> None:
    """Print the figures, and the constants if they are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("package", nargs="?", type=Path, default=PACKAGE, help="its folder")
    parser.add_argument("--constants", action="store_true", help="list the constants, too")
    options = parser.parse_args()
    structure = measure(options.package)
    print(report(structure))
    if options.constants:
        print("constants:", *structure.constants, sep="\n  ")
        print("coefficients:", *structure.coefficients, sep="\n  ")


if __name__ == "__main__":
    main()
