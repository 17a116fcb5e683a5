"""The guide's code runs as it is printed, and what it says of statuses is what they say."""

import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from geomstats_vae import LatentSpace
from geomstats_vae.geodesics import GeodesicStatus
from geomstats_vae.geodesics.flow.exponential import ExponentialStatus
from geomstats_vae.sampling import WalkStatus

DOCS = Path(__file__).parents[1] / "docs"
GUIDE = sorted((DOCS / "guide").glob("*.md"))
PAGES = [DOCS / "index.md", *(page for page in GUIDE if page.name != "index.md")]
LONG = {"command_line", "geomstats", "performance", "sklearn"}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| `([A-Z_]+)` \| (.*?) \|", re.MULTILINE)


def with_marks(page):
    marks = [pytest.mark.long] if page.stem in LONG else []
    return pytest.param(page, id=page.stem, marks=marks)


@pytest.mark.usefixtures("share_packaged_vae")
@pytest.mark.parametrize("page", [with_marks(page) for page in PAGES])
def test_code_blocks_run_in_order(page):
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)


def test_every_page_is_in_the_guide():
    listed = (DOCS / "guide" / "index.md").read_text(encoding="utf-8").split()
    assert {page.stem for page in GUIDE} - {"index"} <= set(listed)


def test_tables_of_statuses_hold_their_sentences():
    text = (DOCS / "guide" / "statuses.md").read_text(encoding="utf-8")
    expected = [
        (status.name, status.message)
        for statuses in (GeodesicStatus, ExponentialStatus, WalkStatus)
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
