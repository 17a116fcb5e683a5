"""The VAE: what it learns, its two stages, its promises on randomness and failure."""

import pickle
import signal
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from geomstats_vae.immersions.rbf import RBFPrecision
from geomstats_vae.models import VAE, LatentCollapseWarning, base
from geomstats_vae.models.objectives import NegativeElbo, ResidualLikelihood


def interrupt_after(monkeypatch, objective, n_epochs):
    """Send this process SIGINT, as Ctrl-C does, in the given epoch of a stage."""
    held_out_loss, calls = objective.held_out_loss, []

    def interrupting(self):
        calls.append(None)
        if len(calls) == n_epochs:
            signal.raise_signal(signal.SIGINT)
        return held_out_loss(self)

    monkeypatch.setattr(objective, "held_out_loss", interrupting)


class TestDigits:
    def test_classes_are_separated(self, digits, digits_vae):
        codes = digits_vae.transform(digits.data)
        accuracy = cross_val_score(KNeighborsClassifier(10), codes, digits.target, cv=5)
        assert accuracy.mean() > 0.85

    def test_reconstructs_better_than_pca(self, digits, digits_vae):
        decoded = digits_vae.inverse_transform(digits_vae.transform(digits.data))
        pca = PCA(2).fit(digits.data)
        linear = pca.inverse_transform(pca.transform(digits.data))
        error, reference = (((x - digits.data) ** 2).mean() for x in (decoded, linear))
        assert error < 0.65 * reference
        np.testing.assert_allclose(digits_vae.noise_std_, np.sqrt(error), rtol=1e-12)
        assert decoded.min() >= 0.0
        assert decoded.max() <= 1.0

    def test_codes_follow_the_prior(self, digits_vae):
        codes = digits_vae.codes_
        assert np.abs(codes.mean(0)).max() < 0.5
        assert 0.4 < codes.std(0).min() <= codes.std(0).max() < 1.6
        assert digits_vae.active_dims_.all()
        assert (digits_vae.kl_per_dim_ > 1.0).all()

    def test_uncertainty_grows_away_from_the_codes(self, digits_vae):
        std = digits_vae.decoder_.std.std
        codes = torch.as_tensor(digits_vae.codes_)
        far = 10.0 * codes / codes.norm(dim=1, keepdim=True)
        assert std(far).log().sum(1).min() > std(codes).log().sum(1).max()
        # The decoder's own variance head does not: the reason for the radial basis functions.
        own = digits_vae.variance_head_
        assert own(far).log().sum(1).min() < own(codes).log().sum(1).max()

    def test_rbf_std_is_more_likely_than_a_constant(self, digits, digits_vae):
        residuals = digits.data - digits_vae.inverse_transform(digits_vae.transform(digits.data))
        with torch.no_grad():
            std = digits_vae.decoder_.std.std(torch.as_tensor(digits_vae.codes_)).numpy()

        def log_likelihood(std):
            return -(np.log(std) + 0.5 * (residuals / std) ** 2).sum(1).mean()

        constant = np.sqrt((residuals**2).mean(0).clip(std.min() ** 2))
        assert log_likelihood(std) > log_likelihood(constant[None]) + 3.0

    def test_history(self, digits_vae):
        history = digits_vae.history_
        assert all(len(values) == digits_vae.n_iter_ for values in history.values())
        assert history["validation_loss"].min() < history["validation_loss"][0] - 10.0
        assert history["train_loss"][-1] < history["train_loss"][0] - 10.0

    def test_decoder_is_frozen_double_precision_on_the_cpu(self, digits_vae):
        for module in (digits_vae.encoder_, digits_vae.decoder_, digits_vae.variance_head_):
            assert not any(part.training for part in module.modules())
            for tensor in module.state_dict(keep_vars=True).values():
                assert not tensor.requires_grad
                assert tensor.dtype == torch.float64
                assert tensor.device.type == "cpu"
        assert isinstance(digits_vae.decoder_.std, RBFPrecision)
        n_centers = 64 if digits_vae.n_centers == "auto" else digits_vae.n_centers
        assert digits_vae.decoder_.std.centers.shape == (n_centers, 2)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(1000, 2)) @ rng.normal(size=(2, 6)) + rng.normal(size=(1000, 6))


@pytest.fixture(scope="module")
def linear_vae(data):
    options = {"max_epochs": 100, "batch_size": 250, "learning_rate": 3e-2}
    return VAE(hidden_dims=(), n_centers=1, a=100.0, random_state=0, **options).fit(data)


class TestLinear:
    """Without hidden layers the model is probabilistic PCA, whose likelihood is known."""

    def test_elbo_is_the_likelihood_of_probabilistic_pca(self, data, linear_vae):
        # One standard deviation per output lifts it a little, towards factor analysis.
        lower, upper = (model.fit(data).score(data) for model in (PCA(2), FactorAnalysis(2)))
        assert lower - 0.05 < linear_vae.score(data) < upper + 0.01

    def test_history_reports_the_same_bound(self, data, linear_vae):
        losses = linear_vae.history_["train_loss"]
        np.testing.assert_allclose(-losses[-50:].mean(), linear_vae.score(data), atol=0.05)

    def test_codes_span_the_principal_plane(self, data, linear_vae):
        decoded = linear_vae.inverse_transform(10.0 * np.eye(2)) - linear_vae.inverse_transform(
            np.zeros((2, 2))
        )
        axes = PCA(2).fit(data).components_
        inside = decoded @ axes.T @ axes
        assert np.linalg.norm(decoded - inside) < 0.1 * np.linalg.norm(decoded)

    def test_samples_have_the_moments_of_the_data(self, data, linear_vae):
        samples = linear_vae.sample(20000, random_state=0)
        np.testing.assert_allclose(samples.mean(0), data.mean(0), atol=0.15)
        covariance = np.cov(data.T)
        error = np.linalg.norm(np.cov(samples.T) - covariance)
        assert error < 0.2 * np.linalg.norm(covariance)


class TestScore:
    def test_is_the_mean_of_the_samples_scores(self, quick_vae, plane):
        scores = quick_vae.score_samples(plane)
        assert scores.shape == (len(plane),)
        np.testing.assert_allclose(quick_vae.score(plane), scores.mean())

    def test_agrees_with_monte_carlo(self, quick_vae, plane):
        x = torch.as_tensor(plane[:20])
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            code_mean, code_std = quick_vae.encoder_(x)
            noise = torch.randn(4000, 20, 2, generator=generator, dtype=torch.float64)
            mean, std = quick_vae.decoder_(code_mean + code_std * noise)
        prior, posterior = (
            torch.distributions.Normal(0.0, 1.0),
            torch.distributions.Normal(code_mean, code_std),
        )
        kl = torch.distributions.kl_divergence(posterior, prior).sum(1)
        elbo = torch.distributions.Normal(mean, std).log_prob(x).sum(-1).mean(0) - kl
        scores = quick_vae.score_samples(plane[:20])
        np.testing.assert_allclose(scores, elbo, atol=0.3)
        np.testing.assert_allclose(scores.mean(), elbo.mean(), atol=0.05)

    @pytest.mark.parametrize("unit", [1e-6, 1e9])
    def test_any_scale_of_data(self, quick, plane, unit):
        reference = clone(quick).fit(plane)
        scaled = clone(quick).fit(unit * plane)
        np.testing.assert_allclose(
            scaled.transform(unit * plane), reference.transform(plane), atol=1e-3
        )
        difference = scaled.score(unit * plane) - reference.score(plane)
        np.testing.assert_allclose(difference, -5 * np.log(unit), atol=1e-2)
        np.testing.assert_allclose(scaled.noise_std_, unit * reference.noise_std_, rtol=1e-3)


class TestMethods:
    def test_dtype_follows_the_input(self, quick_vae, plane):
        single = quick_vae.transform(plane.astype(np.float32))
        assert single.dtype == np.float32
        assert quick_vae.inverse_transform(single).dtype == np.float32
        assert quick_vae.transform((10 * plane).astype(int)).dtype == np.float64
        np.testing.assert_allclose(single, quick_vae.transform(plane), atol=1e-4)

    def test_decodes_no_codes_to_no_data(self, quick_vae):
        assert quick_vae.inverse_transform(np.empty((0, 2))).shape == (0, 5)

    def test_decodes_codes_only(self, quick_vae, plane):
        with pytest.raises(ValueError, match=r"codes of shape \[n_samples, 2\], got \[200, 5\]"):
            quick_vae.inverse_transform(plane)
        with pytest.raises(ValueError, match="NaN"):
            quick_vae.inverse_transform([[np.nan, 0.0]])

    def test_sample(self, quick_vae):
        first, second = (quick_vae.sample(7, random_state=3) for _ in range(2))
        assert first.shape == (7, 5)
        assert np.array_equal(first, second)
        with pytest.raises(ValueError, match="n_samples >= 1, got 0"):
            quick_vae.sample(0)

    def test_unfitted(self, quick, plane):
        for use in (
            lambda: quick.transform(plane),
            lambda: quick.score(plane),
            lambda: quick.sample(),
            lambda: quick.latent_space_,
        ):
            with pytest.raises(NotFittedError):
                use()

    def test_latent_space_is_built_once_from_decoder_and_codes(self, quick_vae, plane, monkeypatch):
        built = []

        def latent_space(decoder, dim, points=None):
            built.append((decoder, dim, points))
            return object()

        monkeypatch.setattr(base, "LatentSpace", latent_space)
        vae = clone(quick_vae).fit(plane)
        space = vae.latent_space_
        assert vae.latent_space_ is space
        assert built == [(vae.decoder_, 2, vae.codes_)]
        # Neither a pickle nor another fit carries it on.
        assert pickle.loads(pickle.dumps(vae)).latent_space_ is not space
        assert vae.fit(plane).latent_space_ is not space

    def test_feature_names_out(self, quick_vae):
        assert list(quick_vae.get_feature_names_out()) == ["vae0", "vae1"]

    def test_keeps_few_codes(self, quick):
        X = np.random.default_rng(0).normal(size=(6000, 3))
        vae = quick.set_params(max_epochs=1).fit(X)
        assert vae.codes_.shape == (5000, 2)
        np.testing.assert_allclose(vae.codes_[[0, -1]], vae.transform(X[[0, -1]]))


class TestRandomness:
    def test_reproducible(self, quick, quick_vae, plane):
        again = clone(quick).fit(plane)
        np.testing.assert_array_equal(again.transform(plane), quick_vae.transform(plane))
        assert again.score(plane) == quick_vae.score(plane)
        other = clone(quick).set_params(random_state=1).fit(plane)
        assert not np.allclose(other.transform(plane), quick_vae.transform(plane))

    def test_no_global_state_is_used_or_changed(self, quick, quick_vae, plane):
        def state():
            return (
                torch.random.get_rng_state().tolist(),
                np.random.get_state()[1].tolist(),  # noqa: NPY002
                torch.get_num_threads(),
                torch.is_grad_enabled(),
                list(warnings.filters),
            )

        before = state()
        torch.set_default_dtype(torch.float64)
        try:
            with torch.no_grad():
                fitted = clone(quick).fit(plane)
                fitted.score(plane)
                fitted.sample(random_state=0)
            assert torch.get_default_dtype() == torch.float64
        finally:
            torch.set_default_dtype(torch.float32)
        assert state() == before
        np.testing.assert_array_equal(fitted.transform(plane), quick_vae.transform(plane))
        assert fitted.score(plane) == quick_vae.score(plane)

    def test_data_are_not_changed(self, quick, plane):
        data = plane.copy()
        data.flags.writeable = False
        clone(quick).fit(data).transform(data)
        assert np.array_equal(data, plane)

    def test_pickle(self, quick_vae, plane):
        again = pickle.loads(pickle.dumps(quick_vae))
        np.testing.assert_array_equal(again.score_samples(plane), quick_vae.score_samples(plane))


class TestBadInput:
    def test_fewer_rows_than_centres_fails_before_training(self, plane, monkeypatch):
        monkeypatch.setattr(NegativeElbo, "epoch_losses", None)
        with pytest.raises(ValueError, match=r"n_centers=64 rows, got n_samples=10; reduce"):
            VAE(n_centers=64).fit(plane[:10])

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, quick, quick_vae, plane, value):
        X = plane.copy()
        X[3, 1] = value
        for method in (quick.fit, quick_vae.transform, quick_vae.score):
            with pytest.raises(ValueError, match=r"NaN|infinity"):
                method(X)

    def test_sigmoid_needs_the_unit_interval(self, quick, plane):
        quick.set_params(output_activation="sigmoid")
        with pytest.raises(ValueError, match=r"Expected data in \[0, 1\] .*, got data in \["):
            quick.fit(plane)

    def test_output_activation_is_chosen_by_the_data(self, quick, quick_vae, plane):
        unit = (plane - plane.min()) / np.ptp(plane)
        assert quick.fit(unit).output_activation_ == "sigmoid"
        assert quick_vae.output_activation_ == "identity"
        assert quick.fit(0.1 * unit).output_activation_ == "identity"
        assert quick.set_params(output_activation="identity").fit(unit).decoder_.mean[-1].bias.any()

    @pytest.mark.parametrize(
        "parameters",
        [
            {"latent_dim": 0},
            {"activation": "step"},
            {"a": 0.0},
            {"zeta": -1.0},
            {"max_epochs": 0},
            {"validation_fraction": 1.0},
            {"hidden_dims": (8, 0)},
            {"hidden_dims": (8.0,)},
            {"hidden_dims": 8},
        ],
    )
    def test_parameters(self, quick, plane, parameters):
        with pytest.raises(ValueError, match=next(iter(parameters))):
            quick.set_params(**parameters).fit(plane)

    def test_divergence_leaves_the_estimator_unfitted(self, quick, plane):
        with pytest.raises(FloatingPointError, match="reduce learning_rate"):
            quick.set_params(learning_rate=1e30).fit(plane)
        with pytest.raises(NotFittedError):
            quick.transform(plane)

    def test_constant_columns(self, quick, plane):
        X = np.column_stack([np.zeros(200), plane, np.full(200, 1e6)])
        vae = quick.set_params(max_epochs=60).fit(X)
        decoded = vae.inverse_transform(vae.transform(X))
        np.testing.assert_allclose(decoded[:, [0, -1]], X[:, [0, -1]], atol=0.2)
        assert np.isfinite(vae.score(X))

    @pytest.mark.parametrize("value", [0.0, 7.3, -1e6])
    def test_constant_data_collapse_but_work(self, quick, value):
        X = np.full((30, 4), value)
        with pytest.warns(LatentCollapseWarning):
            vae = quick.fit(X)
        assert np.isfinite(vae.score(X))
        np.testing.assert_allclose(vae.inverse_transform(vae.transform(X)), X, atol=0.5)

    def test_repeated_rows(self, quick, plane):
        X = np.repeat(plane[:3], 10, axis=0)
        assert np.isfinite(quick.fit(X).score(X))


class TestCollapse:
    def test_dimension_without_information_is_reported(self, quick):
        line = np.random.default_rng(0).uniform(size=(200, 1)) @ np.ones((1, 4))
        options = {"hidden_dims": (16,), "weight_decay": 10.0, "learning_rate": 1e-2}
        options |= {"warmup": "kl", "activation": "tanh"}
        quick.set_params(latent_dim=3, max_epochs=100, **options)
        message = r"Expected 3 informative latent dimensions, got 1: .* Reduce latent_dim"
        with pytest.warns(LatentCollapseWarning, match=message):
            vae = quick.fit(line)
        assert vae.active_dims_.sum() == 1
        assert (vae.kl_per_dim_[vae.active_dims_] > 1.0).all()
        assert (vae.kl_per_dim_[~vae.active_dims_] < 0.05).all()


def test_no_time_makes_a_model_nevertheless(quick, plane):
    quick.set_params(max_epochs=50, max_seconds=1e-9, batch_size=32)
    with pytest.warns(
        ConvergenceWarning, match=r"first stage was stopped by max_seconds=1e-09, af"
    ) as told:
        vae = quick.fit(plane)
    assert not any("interrupted" in str(each.message) for each in told)
    assert vae.n_iter_ == len(vae.history_["epoch"]) == 1
    assert np.isfinite(vae.history_["train_loss"]).all()
    assert np.isfinite(vae.score(plane))
    assert vae.transform(plane).shape == (200, 2)
    assert torch.isfinite(vae.variance_head_(torch.as_tensor(vae.codes_))).all()


class TestInterrupt:
    @pytest.fixture
    def patient(self, quick):
        return quick.set_params(max_epochs=50)

    def test_first_stage_keeps_the_best_state(self, patient, plane, monkeypatch):
        # Epochs are judged once each.
        interrupt_after(monkeypatch, NegativeElbo, 8)
        with pytest.warns(
            ConvergenceWarning, match=r"first stage was interrupted, after 7 of 50 .*fit again"
        ):
            vae = patient.fit(plane)
        assert vae.n_iter_ == len(vae.history_["epoch"]) == 7
        assert np.isfinite(vae.score(plane))
        assert vae.transform(plane).shape == (200, 2)

    def test_before_the_first_epoch_it_is_raised(self, patient, plane, monkeypatch):
        fitted = clone(patient).set_params(max_epochs=2).fit(plane)
        codes = fitted.transform(plane)
        interrupt_after(monkeypatch, NegativeElbo, 1)
        with pytest.raises(KeyboardInterrupt):
            fitted.fit(plane)
        np.testing.assert_array_equal(fitted.transform(plane), codes)

    @pytest.mark.parametrize("n_epochs", [1, 4])
    def test_second_stage_is_finished_quickly(self, patient, plane, monkeypatch, n_epochs):
        interrupt_after(monkeypatch, ResidualLikelihood, n_epochs)
        with pytest.warns(ConvergenceWarning, match="second stage was interrupted"):
            vae = patient.fit(plane)
        assert np.isfinite(vae.score(plane))
        assert torch.isfinite(vae.variance_head_(torch.as_tensor(vae.codes_))).all()

    def test_while_the_precision_is_fitted(self, patient, plane, monkeypatch):
        fit, calls = RBFPrecision.fit.__func__, []

        def interrupted_once(cls, *args, **options):
            calls.append(options["tol"])
            if len(calls) == 1:
                signal.raise_signal(signal.SIGINT)
            return fit(cls, *args, **options)

        monkeypatch.setattr(RBFPrecision, "fit", classmethod(interrupted_once))
        with pytest.warns(ConvergenceWarning, match="second stage was interrupted"):
            vae = patient.set_params(a=1.0).fit(plane)
        assert calls[1] > calls[0]
        assert np.isfinite(vae.score(plane))


def test_progress_bars_for_both_stages(quick, plane, capsys):
    clone(quick).fit(plane)
    assert capsys.readouterr().err == ""
    clone(quick).set_params(verbose=True).fit(plane)
    shown = capsys.readouterr().err
    for stage in ("VAE: mean", "RBF precision", "VAE: variance head"):
        assert stage in shown
