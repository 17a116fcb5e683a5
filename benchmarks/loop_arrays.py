"""Time what the solver's loop does between two evaluations of the decoder, in numpy and in torch.

Run: ``OMP_NUM_THREADS=1 python benchmarks/loop_arrays.py``. One pass is the arithmetic of about one
Newton step of the digits on elements of degree 8 in two dimensions, without the evaluation of the
decoder and without the solution of the banded system: sums over curves, the choice of the elements
to bisect, their bisection, trial nodes, and the assembly of the banded matrix. Printed are the
microseconds of a pass, the least of several, for one pair and for 64.
"""

import time

import numpy as np
import torch

from geomstats_vae.geodesics.curves.chain import assemble, first_unknown
from geomstats_vae.geodesics.curves.reference import reference_element

_DEGREE, _DIM = 8, 2
_INNER, _SIZE = _DEGREE * _DIM, (_DEGREE + 1) * _DIM


def data(n_pairs):
    """Draw element arrays of curves of two to six elements."""
    generator = np.random.default_rng(0)
    counts = generator.integers(2, 7, n_pairs)
    n = int(counts.sum())
    fine = generator.uniform(0.5, 1.0, n)
    nodes, step = generator.standard_normal((2, n, _DEGREE + 1, _DIM))
    matrices = generator.standard_normal((n, _SIZE, _SIZE))
    return counts, fine, fine * (1.0 + 0.03 * generator.standard_normal(n)), nodes, step, matrices


def numpy_pass(counts, fine, coarse, nodes, step, matrices):
    """Make one pass in numpy, as the solver does."""
    owner = np.repeat(np.arange(len(counts)), counts)
    length = np.bincount(owner, weights=fine, minlength=len(counts))
    loose = 0.02 * fine + 1e-4 * (length / counts)[owner]
    marked = (np.abs(fine - coarse) > loose) & (fine > 1e-6 * length[owner])
    left, right = reference_element(_DEGREE).bisect
    repeats = np.where(marked, 2, 1)
    halves = np.repeat(nodes, repeats, axis=0)
    first = np.cumsum(repeats) - repeats
    halves[first[marked]], halves[first[marked] + 1] = left @ nodes[marked], right @ nodes[marked]
    trial = nodes + (0.5 * length)[owner, None, None] * step
    good = np.bincount(owner, weights=fine, minlength=len(counts)) <= length
    base = first_unknown(counts, _DEGREE, _DIM)
    banded = assemble(matrices, base, int(((counts * _DEGREE + 1) * _DIM).sum()), _INNER)
    return halves, trial[good[owner]], banded


def torch_pass(counts, fine, coarse, nodes, step, matrices, bisect):
    """Do the same in torch."""
    curves = torch.arange(len(counts))
    owner = torch.repeat_interleave(curves, counts)
    length = torch.zeros(len(counts), dtype=fine.dtype).index_add_(0, owner, fine)
    loose = 0.02 * fine + 1e-4 * (length / counts)[owner]
    marked = ((fine - coarse).abs() > loose) & (fine > 1e-6 * length[owner])
    repeats = marked.to(torch.int64) + 1
    halves = nodes.repeat_interleave(repeats, dim=0)
    first = repeats.cumsum(0) - repeats
    halves[first[marked]] = bisect[0] @ nodes[marked]
    halves[first[marked] + 1] = bisect[1] @ nodes[marked]
    trial = nodes + (0.5 * length)[owner, None, None] * step
    again = torch.zeros(len(counts), dtype=fine.dtype).index_add_(0, owner, fine)
    good = again <= length
    base = (torch.arange(len(owner)) * _DEGREE + owner) * _DIM
    banded = torch.zeros(_SIZE, int(((counts * _DEGREE + 1) * _DIM).sum()), dtype=fine.dtype)
    for k in range(_SIZE):
        for begin, end in ((0, min(_INNER, _SIZE - k)), (_INNER, _SIZE - k)):
            if begin < end:
                columns = torch.arange(begin, end)
                banded[k][base[:, None] + columns] += matrices[:, columns + k, columns]
    return halves, trial[good[owner]], banded


def best(function, *arguments, repeats=200):
    """Return the least time of a call, in microseconds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - begin)
    return 1e6 * min(times)


def main():
    """Print one line per number of pairs."""
    torch.set_num_threads(1)
    bisect = torch.tensor(reference_element(_DEGREE).bisect)
    for n_pairs in (1, 64):
        arrays = data(n_pairs)
        tensors = [torch.as_tensor(array) for array in arrays]
        for mine, theirs in zip(numpy_pass(*arrays), torch_pass(*tensors, bisect), strict=True):
            np.testing.assert_allclose(mine, theirs)
        print(
            f"{n_pairs:3d} pairs: numpy {best(numpy_pass, *arrays):7.0f} us, "
            f"torch {best(torch_pass, *tensors, bisect):7.0f} us"
        )


if __name__ == "__main__":
    main()
