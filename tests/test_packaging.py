"""What says something about the package in several places says the same."""

import re
from pathlib import Path

import pytest

import geomstats_vae

tomllib = pytest.importorskip("tomllib")  # of Python 3.11

ROOT = Path(__file__).parents[1]
# Names that conda has for packages of PyPI.
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
LINK = re.compile(r"\]\(([^)\s]+)\)")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads(read("pyproject.toml"))["project"]


def names(requirements):
    return {re.match(r"[\w-]+", line).group() for line in requirements}


def test_the_version_stands_in_the_package_alone(project):
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    assert f"\nversion: {geomstats_vae.__version__}\n" in read("CITATION.cff")
    newest = re.search(r"^## \[(.+?)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert newest.group(1) == geomstats_vae.__version__


def test_the_conda_recipe_asks_for_what_the_wheel_asks_for(project):
    recipe = read("recipe/meta.yaml")
    for name, entry in project["scripts"].items():
        assert f"- {name} = {entry}\n" in recipe
    runs = recipe.split("\n  run:\n")[1].split("\n\n")[0]
    listed = names(re.findall(r"- (.+)", runs)) - {"python"}
    assert listed == {CONDA.get(name, name) for name in names(project["dependencies"])}


def test_the_readme_links_to_addresses_only():
    """PyPI shows the page without the repository; its picture waits for an address."""
    links = LINK.findall(read("README.md"))
    relative = [link for link in links if not link.startswith(("https://", "#"))]
    assert relative == ["docs/_static/rotation.png"]
    assert (ROOT / relative[0]).exists()
