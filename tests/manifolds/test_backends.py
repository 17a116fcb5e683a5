"""The same numbers on the pytorch backend, in a process of its own; `make test` tests there too."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.manifolds import spaces

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(spaces.ON_TORCH, reason="this is the other process")


def run_on_pytorch(*arguments):
    # scipy must know of array libraries before its import for geomstats' TangentPCA to work.
    environment = os.environ | {"GEOMSTATS_BACKEND": "pytorch", "SCIPY_ARRAY_API": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_backends_agree(tmp_path):
    spaces.dump(tmp_path / "numpy.npz")
    code = "import sys; from tests.manifolds import spaces; spaces.dump(sys.argv[1])"
    run_on_pytorch("-c", code, str(tmp_path / "pytorch.npz"))
    ours, theirs = (np.load(tmp_path / f"{name}.npz") for name in ("numpy", "pytorch"))
    for name in ours.files:
        np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-12, atol=1e-12, err_msg=name)
