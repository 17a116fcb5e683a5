"""The README's code runs as it is printed."""

import ast
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def blocks():
    return BLOCK.findall(README.read_text(encoding="utf-8"))


def test_what_it_imports_exists(blocks):
    statements = [node for block in blocks for node in ast.parse(block).body]
    imports = [node for node in statements if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports
    exec(compile(ast.Module(imports, type_ignores=[]), str(README), "exec"), {})


@pytest.mark.long
@pytest.mark.usefixtures("share_packaged_vae")
def test_code_blocks_run_in_order(blocks):
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
