"""The variational autoencoder as a scikit-learn estimator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geometry.tears import torn_share
from geomstats_vae.models import persistence
from geomstats_vae.models.architecture import Architecture, join_decoders, resolve_activation
from geomstats_vae.models.base import LatentVariableModel
from geomstats_vae.models.faults import warn_of_faults, warn_stopped
from geomstats_vae.models.networks import ACTIVATIONS, StdNetwork, freeze
from geomstats_vae.models.noise import NoiseOptions, NoiseStage, fit_noise
from geomstats_vae.models.objectives import kl_divergence
from geomstats_vae.models.stages import MeanStage, Rows, fit_mean
from geomstats_vae.models.training import TrainingOptions
from geomstats_vae.models.validation import check_enough_rows, validate_rows

# A latent dimension is active if the variance of its encoder means over the data exceeds this:
# Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016, section 5.2.
_ACTIVE_VARIANCE = 1e-2
# Codes kept with the estimator; the geometry builds its graph from them.
_MAX_CODES = 5000


class VAE(LatentVariableModel):
    """Variational autoencoder with a Gaussian decoder whose uncertainty grows away from the data.

    Training has two stages, as in [1]_, section 4. First the encoder and the decoder's mean, by
    the evidence lower bound (ELBO) with one noise variance for all outputs. Over the first third of
    the epochs the codes are pulled to a layout of the data by Isomap, less and less, so that they
    do not begin torn. Then, with the mean frozen, the precision of every output by maximum
    likelihood of the residuals. Each step of the first stage trains all decoders, each on codes
    that are drawn for it.

    Parameters
    ----------
    latent_dim : int
        Dimension of the latent space.
    hidden_dims : tuple of int
        Units of the encoder's hidden layers; the decoder mirrors them.
    activation : {'elu', 'relu', 'silu', 'softplus', 'tanh'}
        Activation of the hidden layers. Geodesics round the kinks of 'relu': prefer a smooth one.
    output_activation : {'auto', 'identity', 'sigmoid'}
        Activation of the decoder's mean. 'auto' is 'sigmoid' if the data lie in [0, 1] and span at
        least half of it.
    n_decoders : int
        Number of decoders on one encoder, each with its own initial weights and precision. Several
        are an ensemble ([2]_), whose metric is the mean of theirs; see `EnsembleDecoder`.
    n_centers : int or 'auto'
        Number of radial basis functions in each decoder's precision. 'auto' is 64, or a tenth
        of the number of rows if that is less.
    a : float or 'auto'
        Curvature hyperparameter: width of the radial basis functions, in units of the radii of
        the clusters of codes; see `RBFPrecision.fit`. Wide functions smooth the precision, and
        with it the walls of uncertainty that keep geodesics near the data. 'auto' takes of 1, 1.25
        and 1.5 the one that makes held-out residuals most likely, unless it lets more straight
        lines undercut the ways along the data than 1 does. The study's choice is 1.25.
    zeta : float, 'auto' or None
        Precision far from the data. With 'auto' the norm of sigma there is the length of the
        longest way along the data, so that no way around is shorter. None is the inverse of the
        largest squared residual.
    variance_head : bool
        Whether to train the decoder's own variance head, too, to compare with: `variance_head_`.
    warmup : {'layout', 'kl'}
        What changes over the first third of the epochs. 'layout': codes are pulled to a layout of
        the data that keeps distances along them (Isomap [3]_), less and less. 'kl': the weight of
        the KL divergence grows from zero to one, as in the study; this often tears curved data.
    max_epochs : int
        Maximal number of epochs, in either stage.
    batch_size : int
        Rows per gradient step.
    learning_rate : float
        Step of Adam: constant for the first third of the epochs, then falling to zero.
    weight_decay : float
        Precision of a Gaussian prior on the weights of the networks; it counts as one observation
        does, so its effect fades as the data grow.
    validation_fraction : float
        Share of the data that is held out to choose the best epoch, and `a`.
    patience : int
        Stop after this many epochs without a better held-out loss; the variance head after 20.
    max_seconds : float, optional
        Seconds after which training ends, in either stage; see the notes.
    random_state : int, numpy.random.RandomState or None
        Source of all randomness. No global generator is used or changed.
    verbose : bool
        Show progress bars.
    device : str, torch.device or None
        Where the first stage is trained; None is the CPU. The fitted networks are on the CPU.

    Attributes
    ----------
    encoder_ : Encoder
        Maps data, as a float64 tensor, to mean and standard deviation of its code.
    a_ : float
        Width of the radial basis functions: `a`, or what `fit` chose.
    zeta_ : float
        Precision far from the data; the smallest one, of several decoders.
    torn_share_ : float
        Share of the nearest neighbors in the data that the codes have torn apart; see
        ``geometry.tears.torn_share``. None in files of earlier releases.
    decoder_ : GaussianDecoder or EnsembleDecoder
        Maps codes, as a float64 tensor, to mean and standard deviation of the data; its ``std`` is
        an `RBFPrecision`. With several decoders, the ensemble of such ``members``.
    variance_head_ : torch.nn.Module or None
        The decoder's own standard deviation: a network with the mean's layers, learnt by maximum
        likelihood with early stopping. An ensemble has one, for its mean. None unless asked for.
    codes_ : numpy.ndarray, shape=[n_codes, latent_dim]
        Encoder means of the training data, in its order; 5000 evenly spaced ones if it has more
        rows.
    noise_std_ : float
        Root mean square of the residuals ``X - inverse_transform(transform(X))``, in data units.
    kl_per_dim_ : numpy.ndarray, shape=[latent_dim]
        Mean KL divergence of the encoder from the prior, in nats.
    active_dims_ : numpy.ndarray of bool, shape=[latent_dim]
        Whether the encoder means of a dimension vary over the data: variance above 0.01.
    output_activation_ : str
        'identity' or 'sigmoid'.
    history_ : dict of str to numpy.ndarray
        'epoch', 'train_loss' and 'validation_loss' of the first stage: negative ELBO per row, in
        nats, with one noise variance.
    n_iter_ : int
        Number of epochs of the first stage.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : numpy.ndarray of str
        Names of the features, if `X` had any.

    See Also
    --------
    geomstats_vae.immersions.rbf.RBFPrecision : The decoder's precision.

    Notes
    -----
    Inside, data are centred and divided by their standard deviation over all features together:
    any scale of data works, and the metric of data space is not distorted. Scale features of
    different units, for instance with `sklearn.preprocessing.StandardScaler`.

    Ctrl-C during `fit` keeps the best epoch so far, shortens the second stage and warns. During
    the first epoch, or if pressed twice, it ends `fit` and leaves the estimator as it was. After
    `max_seconds` the same happens at the end of a step, also of the first epoch, which then counts
    with its steps. The second stage fits the precision, with a loose tolerance, whatever its time.

    References
    ----------
    .. [1] Arvanitidis, Hansen, Hauberg. "Latent Space Oddity: on the Curvature of Deep Generative
       Models." ICLR 2018. arXiv:1710.11379.
    .. [2] Syrota, Moreno-Munoz, Hauberg. "Decoder ensembling for learned latent geometries." ICML
       2024 workshop on geometry-grounded representation learning. arXiv:2408.07507.
    .. [3] Tenenbaum, de Silva, Langford. "A Global Geometric Framework for Nonlinear
       Dimensionality Reduction." Science 290 (2000).

    Examples
    --------
    >>> from geomstats_vae.datasets import load_digits
    >>> from geomstats_vae.models import VAE
    >>> digits = load_digits()
    >>> vae = VAE(random_state=0, max_epochs=2).fit(digits.data)
    >>> vae.transform(digits.data).shape
    (1797, 2)
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012  (scikit-learn's convention)
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "hidden_dims": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions({"auto", "identity", "sigmoid"})],
        "n_decoders": [Interval(Integral, 1, None, closed="left")],
        "n_centers": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "a": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "zeta": [None, StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "variance_head": ["boolean"],
        "warmup": [StrOptions({"layout", "kl"})],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "device": [None, str, torch.device],
    }

    def __init__(
        self,
        latent_dim: int = 2,
        *,
        hidden_dims: Sequence[int] = (128, 64),
        activation: str = "silu",
        output_activation: str = "auto",
        n_decoders: int = 1,
        n_centers: int | str = "auto",
        a: float | str = "auto",
        zeta: float | str | None = "auto",
        variance_head: bool = False,
        warmup: str = "layout",
        max_epochs: int = 200,
        batch_size: int = 128,
        learning_rate: float = 5e-3,
        weight_decay: float = 1.0,
        validation_fraction: float = 0.1,
        patience: int = 100,
        max_seconds: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        self.latent_dim = latent_dim
        self.hidden_dims = hidden_dims
        self.activation = activation
        self.output_activation = output_activation
        self.n_decoders = n_decoders
        self.n_centers = n_centers
        self.a = a
        self.zeta = zeta
        self.variance_head = variance_head
        self.warmup = warmup
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.max_seconds = max_seconds
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    a_: float
    torn_share_: float | None
    variance_head_: StdNetwork | None
    noise_std_: float
    kl_per_dim_: NDArray[np.float64]
    active_dims_: NDArray[np.bool_]
    output_activation_: str
    history_: dict[str, np.ndarray]
    n_iter_: int
    n_features_in_: int
    feature_names_in_: np.ndarray

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: None = None) -> VAE:
        """Train the encoder and the decoder.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Data; at least two rows, and `n_centers` if that is a number.
        y : None
            Ignored.

        Returns
        -------
        self : VAE
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data are not finite, have fewer rows than centres, or leave [0, 1] with
            ``output_activation='sigmoid'``.
        FloatingPointError
            If the training diverges.

        Warns
        -----
        LatentCollapseWarning
            If a latent dimension carries no information.
        TornLatentSpaceWarning
            If the codes tear neighbors apart.
        sklearn.exceptions.ConvergenceWarning
            If the training was interrupted or out of time.
        """
        X = validate_rows(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        options = NoiseOptions(self.n_centers, self.a, self.zeta, self.variance_head)
        check_enough_rows(X, options.n_centers_of(len(X)))
        deadline = Deadline.after(self.max_seconds)
        activation = resolve_activation(self.output_activation, X)
        architecture = self._architecture(X.shape[1], activation)
        random_state = check_random_state(self.random_state)
        generator = torch.Generator().manual_seed(int(random_state.randint(2**31 - 1)))

        x = torch.tensor(X, dtype=torch.float64)
        rows = Rows.split(x, self.validation_fraction, generator)
        stage = fit_mean(
            rows,
            architecture,
            self._training_options(),
            generator,
            n_decoders=self.n_decoders,
            device=torch.device(self.device or "cpu"),
            deadline=deadline,
            verbose=self.verbose,
        )
        first = stage.training
        parts = stage, x, rows, architecture, generator, random_state, deadline
        effort: dict[str, Any] = {"options": options, "effort": self._training_options()}
        effort["verbose"] = self.verbose
        try:
            noise = fit_noise(*parts, **effort, quick=first.stopped)
        except KeyboardInterrupt:
            noise = fit_noise(*parts, **effort, quick=True).interrupted()
        second = noise.training
        self._set_fitted(x, architecture, stage, noise)
        if first.stopped or second.stopped:
            stage_and_training = ("first", first) if first.stopped else ("second", second)
            warn_stopped(*stage_and_training, self.n_iter_, self.max_epochs, self.max_seconds)
        warn_of_faults(self.active_dims_, self.torn_share_ or 0.0)
        return self

    def _architecture(self, n_features: int, output_activation: str) -> Architecture:
        return Architecture(
            n_features=n_features,
            dim=self.latent_dim,
            hidden_dims=tuple(self.hidden_dims),
            activation=self.activation,
            bounded=output_activation == "sigmoid",
        )

    def _training_options(self) -> TrainingOptions:
        return TrainingOptions(
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
            warmup_epochs=self.max_epochs // 3,
            warmup=self.warmup,
        )

    def _set_fitted(
        self,
        x: torch.Tensor,
        architecture: Architecture,
        stage: MeanStage,
        noise: NoiseStage,
    ) -> None:
        """Set all fitted attributes at once: a failed `fit` leaves the earlier ones alone."""
        with torch.no_grad():
            mean, std = stage.encoder(x)
            images = stage.mean(mean)
            self.noise_std_ = (x - images).square().mean().sqrt().item()
        codes = mean.numpy()
        spaced = np.linspace(0, len(codes) - 1, min(len(codes), _MAX_CODES))
        self.codes_ = codes[np.unique(spaced.round().astype(int))]
        self.kl_per_dim_ = kl_divergence(mean, std).mean(dim=0).numpy()
        self.active_dims_ = codes.var(axis=0) > _ACTIVE_VARIANCE
        self.torn_share_ = torn_share(x.numpy(), codes, images.numpy())
        self.a_ = noise.a
        self.encoder_ = stage.encoder
        self.decoder_ = freeze(join_decoders(stage.means, noise.precisions))
        self.variance_head_ = noise.head
        self.output_activation_ = "sigmoid" if architecture.bounded else "identity"
        self.n_iter_ = len(stage.training.train_loss)
        self.history_ = {
            "epoch": np.arange(self.n_iter_),
            "train_loss": np.array(stage.training.train_loss),
            "validation_loss": np.array(stage.training.held_out_loss),
        }
        self._latent_space = None

    @property
    def zeta_(self) -> float:
        """Precision far from the data; the smallest one, of several decoders."""
        return min(float(decoder.state_dict()["std.zeta"]) for decoder in self._decoders)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the fitted estimator to one file, in the safetensors format: without pickle.

        Parameters
        ----------
        path : str or os.PathLike
            File to write, any ending; an existing one is replaced. A `random_state` that is a
            generator is not kept.
        """
        check_is_fitted(self, "decoder_")
        persistence.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> VAE:
        """Load an estimator that `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike
            File to read. No code in it can run.

        Returns
        -------
        model : VAE
            The fitted estimator.

        Raises
        ------
        OSError
            If there is no such file, or it may not be read.
        ValueError
            If the file is not one that `save` wrote, is damaged, or of another version.
        """
        return persistence.load(cls, path)
