"""The examples run, without warnings, and draw."""

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("plot_*.py"))
# What an example cannot run without, beyond what the tests install.
NEEDS = {"plot_single_cells": "scanpy"}


@pytest.fixture(autouse=True)
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
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_draws(path):
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    runpy.run_path(str(path), run_name="__main__")
    numbers = plt.get_fignums()
    assert numbers
    for number in numbers:
        plt.figure(number).canvas.draw()
