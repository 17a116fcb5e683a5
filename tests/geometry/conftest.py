"""Filters for warnings that torch itself raises."""

import pytest


def pytest_collection_modifyitems(items):
    # torch compiles its own forward-mode rules, by a deprecated function, on first use.
    mark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
    for item in items:
        if "geometry" in item.path.parts:
            item.add_marker(mark)
