"""The examples run, without warnings, and draw."""

import ast
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").rglob("plot_*.py"))
# Fast enough for every run of the tests. All others run in `make test-long`.
FAST = {"plot_first_geodesic"}
# What an example cannot run without, beyond what the tests install.
NEEDS = {"plot_single_cells": "scanpy"}


@pytest.fixture
def _without_a_window(monkeypatch):
    backend = plt.get_backend()
    plt.switch_backend("Agg")
    monkeypatch.setenv("SHORT_EXAMPLES", "1")
    # It warns of backends without windows.
    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")
    plt.switch_backend(backend)


def test_there_are_examples():
    assert {path.stem for path in EXAMPLES} > FAST


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_form(path):
    """What sphinx-gallery makes a page of: a title, text between the code, and pictures."""
    source = path.read_text(encoding="utf-8")
    module = ast.parse(source)
    title, line, *_ = ast.get_docstring(module).splitlines()
    assert line == "=" * len(title)
    assert "\n# %%\n" in source
    assert "plt.show()" in source
    imports = [node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
    ours = [node for node in imports if getattr(node, "module", "").startswith("geomstats_vae")]
    assert ours
    exec(compile(ast.Module(ours, type_ignores=[]), str(path), "exec"), {})


def with_marks(path):
    marks = [] if path.stem in FAST else [pytest.mark.long]
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.usefixtures("_without_a_window", "share_packaged_vae")
@pytest.mark.parametrize("path", [with_marks(path) for path in EXAMPLES])
def test_example_draws(path):
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    runpy.run_path(str(path), run_name="__main__")
    numbers = plt.get_fignums()
    assert numbers
    for number in numbers:
        plt.figure(number).canvas.draw()
