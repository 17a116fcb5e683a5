"""Blocks of pairs on threads, processes and a cluster: the same results, and never wrong ones."""

import copy
import os
import pickle
import signal
import threading
import time
import uuid

import joblib
import numpy as np
import pytest
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError

from geomstats_vae import LAND, GeodesicKMeans, LatentSpace
from geomstats_vae.geometry import blocks
from geomstats_vae.geometry.blocks import Blocks
from tests import surfaces
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw, host

OTHER = "numpy" if spaces.ON_TORCH else "pytorch"
N_THREADS = 3  # of torch, outside of blocks
SAME = {"rtol": 1e-12, "atol": 1e-12}
CONFIGS = {
    "threads": {"backend": "threading", "n_jobs": 2},
    "loky": {"backend": "loky", "n_jobs": 2},
    "dask": {"backend": "dask"},
}
LONG = [pytest.param(name, marks=pytest.mark.long) for name in ("loky", "dask")]
PROCESSES = pytest.mark.parametrize("backend", LONG, indirect=True)
START, END = np.sort(draw(40, 2), axis=0), draw(40, 2, seed=1)
LENGTH = np.linalg.norm(END - START, axis=1)


@pytest.fixture(scope="module", autouse=True)
def environment():
    """Workers start with the other backend in their environment: they need none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOMSTATS_BACKEND", OTHER)
        yield


@pytest.fixture(scope="module")
def cluster():
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(params=["threads", *LONG])
def backend(request):
    if request.param == "dask":
        request.getfixturevalue("cluster")
    with joblib.parallel_config(**CONFIGS[request.param]):
        yield request.param


@pytest.fixture
def sent(monkeypatch):
    """Numbers of blocks that are given to joblib."""
    numbers = []

    work = blocks._work

    def spy(function, pieces, *args):
        numbers.append(len(pieces))
        return work(function, pieces, *args)

    monkeypatch.setattr(blocks, "_work", spy)
    return numbers


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(N_THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def codes():
    return draw(40, 2)


@pytest.fixture(scope="module")
def space(codes):
    return LatentSpace(spaces.vae_like_decoder(), 2, points=array(codes), on_failure="raise")


def lengths(start, end):
    return (np.linalg.norm(end - start, axis=1),)


def run(function, size=5, n_jobs=1, **options):
    return Blocks(n_jobs=n_jobs, size=size, options=options).run(function, START, END)


# -- results -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["exact", "graph"])
def distances(request, space, codes):
    return request.param, host(space.metric.dist_pairwise(array(codes[:12]), method=request.param))


def test_distances(backend, space, codes, distances, sent):
    (method, matrix), points = distances, array(codes[:12])
    found = space.metric.dist_pairwise(points, n_jobs=2, method=method)
    np.testing.assert_allclose(host(found), matrix, **SAME)
    found = space.metric.dist_broadcast(points[:5], points, n_jobs=2, method=method)
    np.testing.assert_allclose(host(found), matrix[:5], **SAME)
    assert min(sent) > 1


@pytest.fixture(scope="module")
def kmeans(space, codes):
    return GeodesicKMeans(space, 2, init=codes[:2], max_iter=1).fit(codes)


@spaces.on_numpy_alone
@pytest.mark.long
def test_assignments_of_kmeans(backend, codes, kmeans, sent):
    with joblib.parallel_config("sequential"):
        labels, distance = kmeans.predict(codes), kmeans.transform(codes)
    assert sent == []
    jobs = copy.copy(kmeans).set_params(n_jobs=2)
    np.testing.assert_array_equal(jobs.predict(codes), labels)
    np.testing.assert_allclose(jobs.transform(codes), distance, **SAME)
    assert len(sent) > 1
    assert max(sent) > 1


@pytest.fixture(scope="module")
def land(space, codes):
    return LAND(space, max_iter=0, n_normalizer_samples=16, random_state=0).fit(codes)


@pytest.mark.long
def test_logarithms_of_land(backend, codes, land, sent):
    with joblib.parallel_config("sequential"):
        log_density = land.score_samples(codes)
    assert sent == []
    np.testing.assert_allclose(land.score_samples(codes), log_density, **SAME)
    assert max(sent) > 1


def test_order_of_the_blocks_is_kept():
    def slow_at_first(start, end):
        time.sleep(0.1 if np.array_equal(start[0], START[0]) else 0.0)
        return lengths(start, end)

    options = {"n_jobs": 2, "prefer": "threads", "return_as": "generator_unordered"}
    (found,) = run(slow_at_first, **options)
    np.testing.assert_array_equal(found, LENGTH)


# -- workers -----------------------------------------------------------------------------------


def see(start, end):
    seen = torch.get_num_threads(), os.getpid()
    return tuple(np.full(len(start), value) for value in seen)


def on_each_worker(function, *args):
    def call():
        time.sleep(0.2)  # so that the other worker takes the next one
        return os.getpid(), function(*args)

    return dict(joblib.Parallel(n_jobs=2, batch_size=1)(joblib.delayed(call)() for _ in range(4)))


def test_blocks_have_one_torch_thread(backend, torch_threads):
    processes = on_each_worker(torch.set_num_threads, N_THREADS)
    threads, process = run(see, n_jobs=2)
    assert (threads == 1).all()
    assert set(process) <= set(processes)
    assert (backend == "threads") == (os.getpid() in processes)
    assert on_each_worker(torch.get_num_threads) == dict.fromkeys(processes, N_THREADS)
    assert torch.get_num_threads() == N_THREADS


@pytest.mark.parametrize("options", [{}, {"prefer": "threads"}])
def test_one_job_changes_nothing(torch_threads, options):
    threads, process = run(see, **options)
    assert (threads == N_THREADS).all()
    assert (process == os.getpid()).all()


@PROCESSES
def test_function_is_unpickled_once_by_each_worker(backend, tmp_path):
    class Counted:
        def __call__(self, start, end):
            return lengths(start, end)

        def __reduce__(self):
            return restore, ()

    def restore():
        (tmp_path / uuid.uuid4().hex).touch()
        return Counted()

    for _ in range(2):
        (found,) = run(Counted(), n_jobs=2)
        np.testing.assert_array_equal(found, LENGTH)
    assert 1 <= len(list(tmp_path.iterdir())) <= 2


@PROCESSES
def test_decoder_that_cannot_be_sent_is_refused(backend):
    lock = threading.Lock()

    def decoder(z):
        with lock:
            return surfaces.sphere(z)

    with pytest.raises((TypeError, pickle.PicklingError), match="ickle"):
        LatentSpace(decoder, 2).metric.dist_pairwise(array(draw(3, 2)), n_jobs=2)


def test_incomplete_blocks_are_refused():
    for options in ({}, {"n_jobs": 2, "prefer": "threads"}):
        with pytest.raises(RuntimeError, match=r"Expected arrays of 5 rows .* got \[4\]"):
            run(lambda a, b: (np.zeros(4),), **options)
        with pytest.raises(RuntimeError, match="got None"):
            run(lambda a, b: None, **options)


# -- workers that are killed ---------------------------------------------------------------------


def fatal(may_live):
    """Lengths, but a worker with the last block is killed unless it may live."""
    parent, last = os.getpid(), START[-1]

    def kill(start, end):
        if np.array_equal(start[-1], last) and os.getpid() != parent and not may_live():
            os.kill(os.getpid(), signal.SIGKILL)
        return lengths(start, end)

    return kill


@PROCESSES
@spaces.on_numpy_alone
@pytest.mark.filterwarnings("default:A worker was killed")
def test_blocks_of_killed_workers_are_done_again(backend, tmp_path, recwarn):
    n_kills = 3 if backend == "loky" else 1  # dask has a limit of its own

    def have_been_killed():
        n_killed = len(list(tmp_path.iterdir()))
        (tmp_path / str(min(n_killed, n_kills))).touch()
        return n_killed >= n_kills

    (found,) = run(fatal(have_been_killed), n_jobs=2)
    np.testing.assert_array_equal(found, LENGTH)
    assert len(list(tmp_path.iterdir())) > n_kills
    said = [str(warning.message) for warning in recwarn]
    assert len(said) == (n_kills if backend == "loky" else 0)  # dask sees to it without us
    assert all("others are worked on once more" in message for message in said)


AGAIN = r"do 40 pairs, got \d+ before too many workers were killed.* fewer n_jobs"


@spaces.on_numpy_alone
@pytest.mark.parametrize("backend", LONG[1:], indirect=True)
def test_blocks_that_kill_each_worker_are_an_error(backend, cluster):
    cluster.cluster.scheduler.allowed_failures = 0  # so that one worker does
    with pytest.raises(RuntimeError, match=AGAIN):
        run(fatal(lambda: False), n_jobs=2)


def losing(is_lost):
    """Lengths, but a worker is lost with some blocks; to kill and start real ones takes long."""

    def lose(start, end):
        if is_lost(start):
            time.sleep(0.05)  # joblib forgets what was done in the last moment
            raise TerminatedWorkerError  # as joblib does
        return lengths(start, end)

    return lose


def test_workers_that_are_killed_again_are_an_error():
    sizes = []

    def has_last(start):
        with_last = np.array_equal(start[-1], START[-1])
        sizes.extend([len(start)] * with_last)
        return with_last

    once_more = pytest.warns(RuntimeWarning, match=r"killed after \d+ of 40 pairs .* with 2 jobs")
    with once_more, pytest.raises(RuntimeError, match=AGAIN.replace(r"\d+", "39")):
        run(losing(has_last), n_jobs=2, prefer="threads")
    assert sizes[0] == 5
    assert sizes[-1] == 1  # nothing else was done with it, nor lost for it


def test_many_killed_workers_end_no_call(recwarn):
    """More kills than blocks, each after some progress."""
    n_tries = dict.fromkeys(map(tuple, START), 0)

    def is_first(start):
        n_tries[tuple(start[0])] += 1
        return n_tries[tuple(start[0])] == 1

    (found,) = run(losing(is_first), n_jobs=2, size=2, prefer="threads")
    np.testing.assert_array_equal(found, LENGTH)
    assert len(recwarn) > 4
    assert all("A worker was killed" in str(warning.message) for warning in recwarn)


def test_blocks_that_outlast_the_time_between_kills_become_smaller():
    def is_long(start):
        return len(start) > 1

    with pytest.warns(RuntimeWarning, match="killed after 0 of 40 pairs"):
        (found,) = run(losing(is_long), n_jobs=2, size=10, prefer="threads")
    np.testing.assert_array_equal(found, LENGTH)
