"""The guide's code runs as it is printed, and what it says of statuses is what they say."""

import importlib
import pkgutil
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

import geomstats_vae as package
from geomstats_vae import LatentSpace
from geomstats_vae.geodesics import GeodesicStatus
from geomstats_vae.geodesics.bounds import BoundStatus
from geomstats_vae.geodesics.flow.exponential import ExponentialStatus
from geomstats_vae.sampling import WalkStatus

DOCS = Path(__file__).parents[1] / "docs"
GUIDE = sorted((DOCS / "guide").glob("*.md"))
WITHOUT_CODE = {"index", "concepts", "glossary"}
PAGES = [DOCS / "install.md", DOCS / "tutorial.md", DOCS / "index.md"]
PAGES += [page for page in GUIDE if page.stem not in WITHOUT_CODE]
LONG = {"cells", "command_line", "first_scripts", "geomstats", "performance", "sklearn", "tutorial"}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| `([A-Z_]+)` \| (.*?) \|", re.MULTILINE)


def with_marks(page):
    marks = [pytest.mark.long] if page.stem in LONG else []
    return pytest.param(page, id=page.stem, marks=marks)


@pytest.mark.usefixtures("share_packaged_vae")
@pytest.mark.parametrize("page", [with_marks(page) for page in PAGES])
def test_code_blocks_run_in_order(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # some write files
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)


def test_every_page_is_in_the_guide():
    indices = [DOCS / "guide" / name for name in ("index.md", "concepts.md")]
    listed = {word for index in indices for word in index.read_text(encoding="utf-8").split()}
    assert {page.stem for page in GUIDE} - {"index", "concepts"} <= listed


def test_every_package_has_a_page_in_the_api(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    parts = importlib.import_module("api_pages").PARTS
    names = {f"{package.__name__}.{part}" for part in parts}
    # An entry is a page, or a title with the page in angle brackets.
    words = (DOCS / "api" / "index.md").read_text(encoding="utf-8").split()
    listed = {word.strip("<>") for word in words}
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if found.ispkg and not found.name.rpartition(".")[2].startswith("_"):
            assert found.name in names
    assert names <= listed


def test_every_example_has_a_place_in_the_gallery(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    order = importlib.import_module("gallery_order").ORDER
    names = sorted(path.name for path in (DOCS.parent / "examples").rglob("plot_*.py"))
    assert sorted(order) == names


def test_tables_of_statuses_hold_their_sentences():
    text = (DOCS / "guide" / "statuses.md").read_text(encoding="utf-8")
    expected = [
        (status.name, status.message)
        for statuses in (GeodesicStatus, ExponentialStatus, BoundStatus, WalkStatus)
        for status in statuses
    ]
    assert ROW.findall(text) == expected


class ModelOutput(OrderedDict):
    """What networks of pythae return: a dictionary whose entries are attributes, too."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        super().__setattr__(key, value)


class LikePythae(torch.nn.Module):
    """A decoder with the interface of pythae's, which returns images in an object."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, z):
        output = ModelOutput()
        output["reconstruction"] = self.network(z).reshape(len(z), 1, 2, 3)
        return output


def test_outputs_of_pythae_are_read_with_and_without_being_told():
    network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 6))
    decoder, z = LikePythae(network).eval(), np.array([[0.1, -0.2], [1.0, 0.5]])
    expected = LatentSpace(network.eval(), 2).metric.metric_matrix(z)
    for options in ({}, {"output": lambda output: output.reconstruction}):
        found = LatentSpace(decoder, 2, **options).metric.metric_matrix(z)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
