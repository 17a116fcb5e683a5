"""Distances in the metrics of an ensemble's members, and what the ensemble's own has of them."""

import pickle

import geomstats.backend as gs
import numpy as np
import pytest
import torch

from geomstats_vae import EnsembleDecoder, GeodesicConvergenceWarning, GeodesicSolver, LatentSpace
from tests.manifolds.spaces import array, coarse_space, draw, host, vae_like_decoder
from tests.surfaces import plane

CODES = draw(60, 2, scale=0.6)
START, END = CODES[:6], CODES[6:12]


def network(seed):
    layers = (torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
    module = torch.nn.Sequential(*layers).double().eval()
    for k, parameter in enumerate(module.parameters()):
        parameter.data = torch.from_numpy(draw(*parameter.shape, seed=10 * seed + k))
    return module


NETWORKS = tuple(network(seed) for seed in range(3))


def distances(decoder, start=START, end=END, **options):
    return host(LatentSpace(decoder, 2, **options).metric.dist(array(start), array(end)))


def test_each_column_is_the_distance_of_a_member():
    metric = LatentSpace(EnsembleDecoder(NETWORKS), 2).metric
    found = host(metric.dist_members(array(START), array(END)))
    assert found.shape == (6, 3)
    expected = np.stack([distances(member) for member in NETWORKS], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_ensembles_distance_is_at_least_the_root_mean_square():
    """The energy of a curve is the mean of its energies, each at least that of a shortest curve."""
    metric = LatentSpace(EnsembleDecoder(NETWORKS), 2).metric
    members = host(metric.dist_members(array(START), array(END)))
    own = host(metric.dist(array(START), array(END)))
    assert (own >= (1.0 - 1e-6) * np.sqrt((members**2).mean(axis=1))).all()
    assert (own > 1.001 * np.sqrt((members**2).mean(axis=1))).any()


def test_copies_of_a_decoder_do_not_differ():
    decoder = vae_like_decoder()
    metric = LatentSpace(EnsembleDecoder([decoder, decoder]), 2).metric
    members = host(metric.dist_members(array(START), array(END)))
    assert not members.std(axis=1).any()
    own = host(metric.dist(array(START), array(END)))
    np.testing.assert_allclose(own, members[:, 0], rtol=1e-6)
    np.testing.assert_allclose(own, distances(decoder), rtol=1e-6)


def test_starts_are_global_if_the_metric_has_points():
    """Members search graphs over the metric's codes, with the options of its graph."""
    solver = GeodesicSolver(tol=1e-6)
    ensemble = EnsembleDecoder([vae_like_decoder(), NETWORKS[0]])
    metric = coarse_space(ensemble, CODES, grid_size=24, solver=solver).metric
    found = host(metric.dist_members(array(START), array(END)))
    graphs = metric._member_graphs
    assert [graph.grid_size for graph in graphs] == [24, 24]
    for k, member in enumerate(ensemble.members):
        space = coarse_space(member, CODES, grid_size=24, solver=solver)
        expected = host(space.metric.dist(array(START), array(END)))
        np.testing.assert_allclose(found[:, k], expected, rtol=1e-9)
    again = host(metric.dist_members(array(START), array(END)))
    np.testing.assert_array_equal(again, found)
    assert metric._member_graphs is graphs


def test_scale_batches_workers_and_pickles():
    metric = LatentSpace(EnsembleDecoder(NETWORKS), 2).metric
    found = host(metric.dist_members(array(START), array(END)))
    scaled = host((4.0 * metric).dist_members(array(START), array(END)))
    np.testing.assert_allclose(scaled, 2.0 * found, rtol=1e-9)
    one = host(metric.dist_members(array(START[0]), array(END[0])))
    assert one.shape == (3,)
    pairs = host(metric.dist_members(array(START)[:, None], array(END)[None, :2]))
    assert pairs.shape == (6, 2, 3)
    np.testing.assert_allclose(pairs[1, 1], found[1], rtol=1e-9)
    threads = metric.dist_members(array(START), array(END), 2, prefer="threads")
    np.testing.assert_allclose(host(threads), found, rtol=1e-9)
    again = pickle.loads(pickle.dumps(LatentSpace(EnsembleDecoder(NETWORKS), 2)))
    np.testing.assert_array_equal(host(again.metric.dist_members(array(START), array(END))), found)


def test_failures_are_reported_once():
    solver = GeodesicSolver(max_iter=1, rtol=1e-12, tol=1e-13)
    metric = LatentSpace(EnsembleDecoder(NETWORKS[:2]), 2, solver=solver).metric
    with pytest.warns(GeodesicConvergenceWarning, match="of 12 geodesics of the members") as caught:
        metric.dist_members(array(START), array(END))
    assert len(caught) == 1


@pytest.mark.parametrize(("decoder", "name"), [(plane, "plane"), (vae_like_decoder(), "Gaussian")])
def test_other_decoders_have_no_members(decoder, name):
    metric = LatentSpace(decoder, 2).metric
    with pytest.raises(
        ValueError, match=f"ensemble of decoders, got that of {name}.*pass Ensemble"
    ):
        metric.dist_members(gs.zeros(2), gs.ones(2))
