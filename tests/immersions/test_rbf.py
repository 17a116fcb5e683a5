"""RBFPrecision: its formula and derivatives, its maximum likelihood, its bad input."""

import copy

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch.func import hessian, jacfwd, jacrev, vmap

from geomstats_vae.immersions.rbf import RBFPrecision


def simulate(n_points=400, n_outputs=3, seed=0):
    """Codes on a disk, and squared residuals whose standard deviation grows to the right."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n_points, 2))
    std = 0.2 + 0.3 / (1.0 + np.exp(-2.0 * z[:, :1])) * np.arange(1, n_outputs + 1)
    return z, (std * rng.normal(size=(n_points, n_outputs))) ** 2


def kernels_of(precision, z):
    delta = torch.as_tensor(z)[:, None, :] - precision.centers
    return torch.exp(-precision.lambdas * delta.square().sum(-1))


def mean_log_likelihood(beta, squared_residuals):
    """Per point and output, without its constant."""
    return 0.5 * (torch.log(beta) - torch.as_tensor(squared_residuals) * beta).mean(0)


@pytest.fixture
def network():
    return RBFPrecision(
        centers=[[0.0, 0.0], [1.0, 0.5]],
        lambdas=[0.5, 2.0],
        weights=[[3.0, 1.0], [0.5, 2.0], [1.0, 1.0]],
        zeta=0.01,
    )


@pytest.fixture(scope="module")
def fitted():
    z, squared_residuals = simulate()
    fit = RBFPrecision.fit(z, squared_residuals, n_centers=8, residual_floor=1e-9, random_state=0)
    return fit, z, squared_residuals


class TestNetwork:
    def test_formula(self, network):
        z = torch.tensor([0.3, -0.7], dtype=torch.float64)
        v = np.exp([-0.5 * (0.3**2 + 0.7**2), -2.0 * (0.7**2 + 1.2**2)])
        expected = np.array([[3.0, 1.0], [0.5, 2.0], [1.0, 1.0]]) @ v + 0.01
        np.testing.assert_allclose(network(z), expected, rtol=1e-14)
        np.testing.assert_allclose(network.std(z), expected**-0.5, rtol=1e-14)

    @pytest.mark.parametrize("shape", [(), (1,), (5,), (4, 5), (0,)])
    def test_any_batch_shape(self, network, shape):
        z = torch.randn(*shape, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        assert network(z).shape == (*shape, 3)
        rows = [network.std(row) for row in z.reshape(-1, 2)]
        if rows:
            torch.testing.assert_close(network.std(z).reshape(-1, 3), torch.stack(rows))

    def test_derivatives_agree_with_finite_differences(self, network):
        z = torch.tensor([[0.3, -0.7], [2.0, 1.0]], dtype=torch.float64)
        forward = vmap(jacfwd(network.std))(z)
        torch.testing.assert_close(forward, vmap(jacrev(network.std))(z), rtol=1e-12, atol=0)
        h = 1e-6
        for k, e in enumerate(torch.eye(2, dtype=z.dtype)):
            difference = (network.std(z + h * e) - network.std(z - h * e)) / (2 * h)
            torch.testing.assert_close(forward[..., k], difference, rtol=1e-7, atol=1e-9)

    @pytest.mark.parametrize("distance", [1e2, 1e8, 1e200])
    def test_far_from_the_centres_std_is_bounded_and_flat(self, network, distance):
        z = torch.tensor([distance, -distance], dtype=torch.float64)
        torch.testing.assert_close(network.std(z), torch.full((3,), 10.0, dtype=z.dtype))
        for derivative in (jacfwd, jacrev, hessian):
            slope = derivative(network.std)(z)
            assert torch.equal(slope, torch.zeros_like(slope))

    def test_tensors_are_copied_buffers(self, network):
        assert set(network.state_dict()) == {"centers", "lambdas", "weights", "zeta"}
        assert not list(network.parameters())
        assert network.zeta.shape == ()
        centers = torch.zeros(1, 2, dtype=torch.float64)
        rbf = RBFPrecision(centers, [1.0], [[1.0]], 1.0)
        centers.fill_(5.0)
        assert not rbf.centers.any()
        assert torch.equal(copy.deepcopy(network).weights, network.weights)
        assert "n_centers=2" in repr(network)

    def test_dtype_follows_the_inputs(self, network):
        assert network.centers.dtype == torch.float64
        single = RBFPrecision(*(t.float() for t in network.buffers()))
        z = torch.tensor([[0.3, -0.7]])
        assert single.std(z).dtype == torch.float32
        torch.testing.assert_close(
            single.std(z).double(), network.std(z.double()), rtol=1e-6, atol=0
        )
        assert single.std(z.double()).dtype == torch.float64

    def test_wrong_last_dimension(self, network):
        with pytest.raises(
            ValueError, match=r"Expected latent codes of shape \[..., 2\], got \[5, 3\]"
        ):
            network(torch.zeros(5, 3, dtype=torch.float64))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"lambdas": [0.5, 0.0]}, "positive lambdas"),
            ({"lambdas": [0.5, np.inf]}, "finite positive lambdas"),
            ({"weights": [[1.0, -1.0]]}, "positive weights"),
            ({"weights": [[1.0, np.nan]]}, "finite positive weights"),
            ({"weights": [1.0, 1.0]}, r"weights of shape \[1, 2\], got \[2\]"),
            ({"weights": [[1.0, 1.0, 1.0]]}, r"weights of shape \[1, 2\], got \[1, 3\]"),
            ({"lambdas": [0.5]}, r"lambdas of shape \[2\], got \[1\]"),
            ({"zeta": 0.0}, "positive zeta"),
            ({"zeta": [0.1]}, r"zeta of shape \[\], got \[1\]"),
            ({"centers": [[np.nan, 0.0], [0.0, 0.0]]}, "finite centers"),
            ({"centers": [0.0, 0.0]}, r"centers of shape \[n_centers, dim\], got \[2\]"),
        ],
    )
    def test_bad_tensors(self, changes, message):
        arguments = {
            "centers": [[0.0, 0.0], [1.0, 0.0]],
            "lambdas": [0.5, 0.5],
            "weights": [[1.0, 1.0]],
            "zeta": 0.1,
        }
        with pytest.raises(ValueError, match=message):
            RBFPrecision(**{**arguments, **changes})


class TestMaximumLikelihood:
    def test_optimality_conditions(self, fitted):
        precision, z, squared_residuals = fitted
        kernels = kernels_of(precision, z)
        beta = precision(torch.as_tensor(z))
        # Gradient of the mean log likelihood in log W and, for inactive weights, in W itself in
        # units of the slope of its linear part.
        fit = torch.einsum("ij,ik->jk", 1.0 / beta, kernels) / len(z)
        pull = torch.einsum("ij,ik->jk", torch.as_tensor(squared_residuals), kernels) / len(z)
        assert ((precision.weights * (fit - pull)).abs() < 1e-5).all()
        assert (fit / pull < 1.0 + 1e-3).all()
        assert (precision.weights > 0).all()

    def test_no_worse_than_expectation_maximisation(self, fitted):
        # Jensen's inequality gives the monotone multiplicative update W <- W * fit / pull.
        precision, z, squared_residuals = fitted
        kernels, r = kernels_of(precision, z), torch.as_tensor(squared_residuals)
        weights, values = torch.ones_like(precision.weights), []
        for _ in range(500):
            beta = kernels @ weights.T + precision.zeta
            values.append(mean_log_likelihood(beta, r).sum().item())
            weights = weights * ((1.0 / beta).T @ kernels) / (r.T @ kernels)
        best = mean_log_likelihood(precision(torch.as_tensor(z)), r).sum().item()
        assert np.diff(values).min() > -1e-12
        assert -1e-5 < best - values[-1] < 1e-2

    def test_one_flat_kernel_is_the_sample_variance(self):
        rng = np.random.default_rng(0)
        z, r = 1e-6 * rng.normal(size=(50, 2)), rng.chisquare(1, size=(50, 4))
        precision = RBFPrecision.fit(
            z, r, n_centers=1, a=1e6, zeta=1e-6, residual_floor=1e-12, tol=1e-10, random_state=0
        )
        expected = torch.as_tensor(r.mean(0) ** -1).expand(50, 4)
        torch.testing.assert_close(precision(torch.as_tensor(z)), expected, rtol=1e-5, atol=0)

    def test_recovers_the_network_that_made_the_data(self, network):
        rng = np.random.default_rng(0)
        z = torch.as_tensor(rng.normal(size=(20000, 2)))
        r = network.std(z).numpy() ** 2 * rng.chisquare(1, size=(20000, 3))
        precision = RBFPrecision.fit(z, r, n_centers=24, zeta=0.01, random_state=0)
        ratio = precision.std(z[:500]) / network.std(z[:500])
        assert ratio.log().square().mean().sqrt() < 0.06

    def test_outputs_do_not_interact(self, fitted):
        precision, z, r = fitted
        options = {"n_centers": 8, "zeta": precision.zeta.item(), "random_state": 0}
        for j in range(r.shape[1]):
            alone = RBFPrecision.fit(z, r[:, [j]], residual_floor=1e-12, **options)
            torch.testing.assert_close(
                alone(torch.as_tensor(z))[:, 0],
                precision(torch.as_tensor(z))[:, j],
                rtol=1e-3,
                atol=0,
            )

    @pytest.mark.parametrize("unit", [1e-8, 1e8])
    def test_equivariant_under_changes_of_units(self, unit):
        z, r = simulate(200)
        reference = RBFPrecision.fit(z, r, n_centers=6, random_state=0)
        changed = RBFPrecision.fit(2.0 * z, r * unit**2, n_centers=6, random_state=0)
        z = torch.as_tensor(z)
        torch.testing.assert_close(changed.std(2.0 * z), unit * reference.std(z), rtol=1e-6, atol=0)

    def test_zeta_bounds_the_standard_deviation(self):
        z, r = simulate()
        far = torch.full((1, 2), 1e3, dtype=torch.float64)
        default = RBFPrecision.fit(z, r, n_centers=8, random_state=0)
        torch.testing.assert_close(default.std(far).max().item(), np.sqrt(r.max()))
        study = RBFPrecision.fit(z, r, n_centers=8, zeta=1e-6, random_state=0)
        torch.testing.assert_close(study.std(far).max().item(), 1e3)

    def test_constant_output_has_the_floor_as_variance(self):
        z, r = simulate(n_outputs=2)
        r[:, 1] = 0.0
        precision = RBFPrecision.fit(z, r, n_centers=8, residual_floor=1e-4, random_state=0)
        std = precision.std(torch.as_tensor(z))[:, 1]
        # Near the codes; between them the precision falls as the kernels do.
        torch.testing.assert_close(std.median().item(), np.sqrt(1e-4 * r.mean()), rtol=0.2, atol=0)

    def test_too_few_steps_warn(self):
        z, r = simulate()
        with pytest.warns(
            ConvergenceWarning, match="3 of 3 outputs have not converged in 2 Newton"
        ):
            precision = RBFPrecision.fit(z, r, n_centers=8, max_iter=2, random_state=0)
        assert (precision.weights > 0).all()


class TestCentres:
    def test_bandwidths_follow_the_clusters(self):
        rng = np.random.default_rng(0)
        blobs = [0.1 * rng.normal(size=(60, 2)), 5.0 + 0.3 * rng.normal(size=(60, 2))]
        z = np.concatenate(blobs)
        precision = RBFPrecision.fit(z, np.ones((120, 1)), n_centers=2, a=2.0, random_state=0)
        for blob in blobs:
            center = blob.mean(0)
            k = (precision.centers - torch.as_tensor(center)).norm(dim=1).argmin()
            radius = np.linalg.norm(blob - center, axis=1).mean()
            np.testing.assert_allclose(precision.lambdas[k], 0.5 / (2.0 * radius) ** 2, rtol=1e-10)

    def test_cluster_of_one_point_takes_the_median_radius(self):
        rng = np.random.default_rng(0)
        z = np.concatenate([rng.normal(size=(50, 2)), [[40.0, 40.0]]])
        precision = RBFPrecision.fit(z, np.ones((51, 1)), n_centers=2, random_state=0)
        np.testing.assert_allclose(precision.lambdas[0], precision.lambdas[1])

    @pytest.mark.parametrize(
        ("z", "n_centers", "n_found"),
        [
            (np.zeros((10, 2)), 3, 1),
            (np.full((10, 2), 0.3) + 1e-17, 3, 1),
            (np.repeat([[0.0, 0.0], [1.0, 0.0], [5.0, 1.0]], 4, axis=0), 5, 3),
            (np.arange(6.0)[:, None], 6, 6),
        ],
    )
    def test_duplicates(self, z, n_centers, n_found):
        r = np.linspace(1.0, 2.0, len(z))[:, None]
        precision = RBFPrecision.fit(z, r, n_centers=n_centers, random_state=0)
        assert precision.centers.shape[0] == n_found
        assert torch.isfinite(precision.std(torch.as_tensor(z))).all()

    def test_reproducible_without_the_global_generators(self):
        z, r = simulate()
        states = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002
        first, second = (RBFPrecision.fit(z, r, n_centers=8, random_state=3) for _ in range(2))
        assert all(map(torch.equal, first.buffers(), second.buffers()))
        assert np.array_equal(np.random.get_state()[1], states[0])  # noqa: NPY002
        assert torch.equal(torch.random.get_rng_state(), states[1])

    def test_dtype_follows_the_codes(self):
        z, r = simulate()
        reference = RBFPrecision.fit(z, r, n_centers=8, random_state=0)
        single = RBFPrecision.fit(
            torch.as_tensor(z, dtype=torch.float32), torch.as_tensor(r), n_centers=8, random_state=0
        )
        assert {t.dtype for t in single.buffers()} == {torch.float32}
        codes = torch.as_tensor(z)
        torch.testing.assert_close(
            single.std(codes.float()).double(), reference.std(codes), rtol=1e-3, atol=0
        )

    def test_arguments_are_not_changed_and_may_be_read_only(self):
        z, r = simulate()
        r[0] = 0.0
        copies = z.copy(), r.copy()
        z.flags.writeable = r.flags.writeable = False
        RBFPrecision.fit(z, r, n_centers=8, random_state=0)
        assert np.array_equal(z, copies[0])
        assert np.array_equal(r, copies[1])


class TestBadInput:
    @pytest.mark.parametrize(
        ("z", "r", "options", "message"),
        [
            (np.zeros((5, 2)), np.ones((5, 1)), {}, "at least n_centers=64 codes, got 5"),
            (np.zeros((5, 2)), np.ones((4, 1)), {}, r"as many rows .* \(5\), got 4"),
            (np.zeros(5), np.ones((5, 1)), {}, r"z of shape \[n_points, n > 0\], got \[5\]"),
            (np.zeros((5, 2)), np.ones(5), {}, r"squared_residuals of shape .*, got \[5\]"),
            (np.full((5, 2), np.nan), np.ones((5, 1)), {}, "finite z, got NaN"),
            (np.zeros((5, 2)), np.full((5, 1), np.inf), {}, "finite squared_residuals"),
            (np.zeros((5, 2)), -np.ones((5, 1)), {"n_centers": 2}, "non-negative .*, got -1"),
            (np.zeros((5, 2)), np.zeros((5, 1)), {"n_centers": 2}, "some positive .*, got zeros"),
            (np.zeros((5, 2)), np.ones((5, 1)), {"n_centers": 0}, "n_centers > 0"),
            (np.zeros((5, 2)), np.ones((5, 1)), {"n_centers": 2, "a": -1.0}, "a > 0"),
            (np.zeros((5, 2)), np.ones((5, 1)), {"n_centers": 2, "zeta": 0.0}, "zeta > 0"),
        ],
    )
    def test_message(self, z, r, options, message):
        with pytest.raises(ValueError, match=message):
            RBFPrecision.fit(z, r, **options)

    def test_kernels_too_narrow_to_see_a_code(self):
        z = np.array([[-1.0], [1.0], [9.0], [11.0]])
        with pytest.raises(ValueError, match="vanishes at all of them; increase a"):
            RBFPrecision.fit(z, np.ones((4, 1)), n_centers=2, a=1e-3, random_state=0)


def test_progress_bar_only_when_verbose(capsys):
    z, r = simulate(100)
    RBFPrecision.fit(z, r, n_centers=4, random_state=0)
    assert capsys.readouterr().err == ""
    RBFPrecision.fit(z, r, n_centers=4, random_state=0, verbose=True)
    assert "RBF precision: 100%" in capsys.readouterr().err
