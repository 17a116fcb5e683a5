"""Eight threads on one fresh space: the results of one thread."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from geomstats_vae import GeodesicKMeans, GeodesicSolver, LatentSpace
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw, host

N_THREADS = 8
CODES = draw(2 * N_THREADS, 2)


def waves(z):
    """A function: torch differentiates it, in forward mode."""
    return torch.cat((z, torch.sin(2.0 * z), (z * z).sum(-1, keepdim=True)), -1)


def test_forward_mode_has_one_level_for_all_threads():
    immersion = LatentSpace(waves, 2).metric.geometry.immersion()
    z = torch.from_numpy(draw(64, 2))
    expected = immersion.push(z, z)
    with ThreadPoolExecutor(N_THREADS) as threads:
        found = list(threads.map(lambda _: immersion.push(z, z), range(40 * N_THREADS)))
    assert all(torch.equal(pushed, expected) for pushed in found)


def rectified(z):
    return torch.cat((z, torch.relu(z - 0.1)), -1)


DECODERS = {"waves": waves, "rectified": rectified, "network": spaces.vae_like_decoder()}


def work(space, rows):
    """What users do: distances with gradients, logarithms, and fits."""
    start, end = array(rows[:1]), array(rows[1:])
    gradient = None
    if spaces.ON_TORCH:
        start = start.clone().requires_grad_()
    dist = space.metric.dist(start, end)
    if spaces.ON_TORCH:
        dist.sum().backward()
        gradient = host(start.grad)
        start = start.detach()
    log = space.metric.log(end, start)
    kmeans = GeodesicKMeans(space, 1, init=rows[:1], max_iter=1).fit(rows)
    return [gradient, *map(host, (dist, log)), kmeans.cluster_centers_, kmeans.inertia_]


@pytest.mark.filterwarnings("ignore::geomstats_vae.GeodesicConvergenceWarning")
@pytest.mark.long
@pytest.mark.parametrize("name", list(DECODERS))
def test_threads_change_no_result(name):
    def fresh():
        return LatentSpace(DECODERS[name], 2, solver=GeodesicSolver(tol=1e-3))

    parts = np.split(CODES, N_THREADS)
    space = fresh()
    expected = [work(space, rows) for rows in parts]
    space = fresh()
    with ThreadPoolExecutor(N_THREADS) as threads:
        found = list(threads.map(work, [space] * N_THREADS, parts))
    for one, other in zip(found, expected, strict=True):
        for value, reference in zip(one, other, strict=True):
            if reference is not None:
                np.testing.assert_allclose(value, reference, rtol=1e-12, atol=1e-14)
