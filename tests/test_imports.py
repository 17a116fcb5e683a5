"""The package's layers, and what importing it may change."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import geomstats_vae

PACKAGE = Path(geomstats_vae.__file__).parent
# Each part imports only parts before it.
LAYERS = [
    "display",
    "archive",
    "plotting",
    "immersions",
    "geodesics",
    "geometry",
    "volume",
    "manifolds",
    "models",
    "estimators",
    "sampling",
    "datasets",
    "report",
    "commands",
    "__main__",
]
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def part_of(file):
    return Path(file).parts[0].removesuffix(".py")


def imports(file):
    """Yield the modules that a file imports, at its top, inside functions or for types only."""
    for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield node.module
            # `from geomstats_vae import report` names a part, too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(module):
    """File of a module of the package, None of other names."""
    path = module.removeprefix("geomstats_vae").lstrip(".").replace(".", "/")
    for candidate in (f"{path}.py", f"{path}/__init__.py".lstrip("/")):
        if candidate in FILES:
            return candidate
    return None


def imported_files(file):
    ours = {module for module in imports(file) if module.split(".")[0] == "geomstats_vae"}
    # `from package import module` asks for the module alone: its package is there by then.
    asked = {module.rpartition(".")[0] for module in ours if file_of(module) is not None}
    inside = {module for module in asked if module.split(".")[1:2] == [part_of(file)]}
    return {file_of(module) for module in ours - inside} - {None, file}


def test_every_part_has_a_layer():
    assert {part_of(file) for file in FILES} - {"__init__"} <= set(LAYERS)


@pytest.mark.parametrize("file", [file for file in FILES if part_of(file) != "__init__"])
def test_parts_import_only_parts_before_them(file):
    part = part_of(file)
    for module in imports(file):
        root, *inner = module.split(".")
        if root != "geomstats_vae" or not inner or inner[0] not in LAYERS:
            continue
        before = LAYERS.index(inner[0]) <= LAYERS.index(part)
        assert before, f"{part} must not import {inner[0]}, but {file} does"


def test_no_circle_of_files():
    """Files can be put in an order in which each imports only files before it."""
    left = {file: imported_files(file) for file in FILES}
    while left:
        free = [file for file, needed in left.items() if not needed & left.keys()]
        assert free, f"a circle of imports among {sorted(left)}"
        for file in free:
            del left[file]


def test_pictures_take_arrays():
    others = {part_of(file) for file in FILES if part_of(file) == "plotting"}
    for file in (file for file in FILES if part_of(file) == "plotting"):
        others |= {part_of(imported) for imported in imported_files(file)}
    assert others == {"plotting"}


@pytest.mark.parametrize("file", FILES)
def test_only_their_parts_know_geomstats_and_matplotlib(file):
    part = part_of(file)
    modules = list(imports(file))
    roots = {module.split(".")[0] for module in modules}
    if part in ("immersions", "geodesics", "geometry", "volume"):
        assert "geomstats" not in roots
    if part not in ("plotting", "report"):
        assert "matplotlib" not in roots
    # Axes for who brings none are pyplot's.
    asked = any(module.startswith("matplotlib.pyplot") for module in modules)
    assert asked == (file == "plotting/current.py")


SNAPSHOT = """
import json, logging, os, sys, warnings
import numpy as np
import torch
import geomstats.backend
from geomstats.geometry.riemannian_metric import RiemannianMetric
from geomstats.learning.frechet_mean import FrechetMean
import scipy.linalg, sklearn.cluster, tqdm

HEAVY = ("dask", "distributed", "jinja2", "matplotlib", "scanpy", "torchvision")

def settings():
    return {
        "dtype": str(torch.get_default_dtype()),
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "torch seed": torch.random.get_rng_state().tolist(),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "numpy seed": [repr(item) for item in np.random.get_state()],
        "numpy errors": np.geterr(),
        "numpy printing": repr(np.get_printoptions()),
        "warnings": [repr(item) for item in warnings.filters],
        "logging": [repr(logging.getLogger().handlers), logging.getLogger().level],
        "environment": dict(os.environ),
        "geomstats": geomstats.backend.__name__,
    }

before = settings()
import geomstats_vae
from geomstats_vae.geodesics.graph import dijkstra
print(json.dumps({
    "compiled": [repr(f) for f in (dijkstra._search, dijkstra.trace) if f.signatures],
    "changed": [key for key, value in settings().items() if value != before[key]],
    "loaded": [name for name in HEAVY if name in sys.modules],
}))
"""


@pytest.fixture(scope="module")
def fresh_import():
    command = [sys.executable, "-c", SNAPSHOT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_import_changes_no_global_setting(fresh_import):
    assert fresh_import["changed"] == []


def test_import_compiles_nothing(fresh_import):
    assert fresh_import["compiled"] == []


def test_import_loads_nothing_heavy_that_most_do_not_need(fresh_import):
    assert fresh_import["loaded"] == []
