"""The command line: files that can be gone on with, one clear line for bad input, exit codes."""

import csv
import json
import logging
import os
import signal
import sys

import numpy as np
import pytest

import geomstats_vae
from geomstats_vae.commands import main, model, program, session
from geomstats_vae.commands import report as report_command
from geomstats_vae.commands.codes import Codes, read_codes
from geomstats_vae.commands.interrupts import Interrupts
from geomstats_vae.commands.scaling import Scaling
from geomstats_vae.models import VAE
from geomstats_vae.report.errors import ReportError
from geomstats_vae.report.journal import Journal

COMMANDS = ["train", "report", "geodesic", "distances", "cluster", "density", "version"]
KINDS = ["ash", "oak, red", "yew"]
# A model that is trained in a moment, and whose curves take few steps.
SMALL = ["--epochs", "3", "--n-centers", "6", "--zeta", "1", "--a", "1.25"]


def read_table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def summary(folder):
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A table of 60 trees: kind, three measures of which the last is in other units, a note."""
    path = tmp_path_factory.mktemp("data") / "trees.csv"
    rng = np.random.default_rng(0)
    lines = ["height,width,mass,kind,note"]
    for k in range(60):
        height, width = rng.normal(k % 3, 0.2, 2)
        lines.append(
            f'{height:.3f},{width:.3f},{5000 * (height + width):.1f},"{KINDS[k % 3]}",{k % 2 == 0}'
        )
    path.write_text("\n".join(lines).replace("True", "good").replace("False", "bad") + "\n")
    return path


@pytest.fixture(scope="module")
def trained(trees, tmp_path_factory):
    """The folder of a model that was trained on standardised trees."""
    folder = tmp_path_factory.mktemp("model") / "out"
    options = ["--labels-column", "kind", "--standardize", "--quiet", "--output", str(folder)]
    assert main(["train", str(trees), *SMALL, *options]) == 0
    return folder


def refused(capsys, status, *arguments):
    """Run a command that fails, and return the one line that it prints."""
    assert main(list(map(str, arguments))) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("geomstats-vae: error: ")
    assert err.count("\n") == 1
    return err


class TestTrain:
    def test_writes_a_model_its_codes_and_its_scaling(self, trained, trees):
        names = {"model.safetensors", "codes.csv", "scaling.csv", "summary.json"}
        assert {path.name for path in trained.iterdir()} == names
        X = np.array([[row[n] for n in ("height", "width", "mass")] for row in read_table(trees)])
        X = X.astype(float)
        scaled = (X - X.mean(axis=0)) / X.std(axis=0)
        codes = read_table(trained / "codes.csv")
        assert [int(row["row"]) for row in codes] == list(range(60))
        assert [row["label"] for row in codes] == KINDS * 20
        z = np.array([[float(row["z1"]), float(row["z2"])] for row in codes])
        vae = VAE.load(trained / "model.safetensors")
        np.testing.assert_allclose(z, vae.transform(scaled), rtol=1e-9, atol=1e-9)
        loaded = model.load_model(str(trained))
        np.testing.assert_allclose(
            loaded.decode(z), vae.inverse_transform(z) * X.std(axis=0) + X.mean(axis=0)
        )

    def test_summary_says_how_it_was_made(self, trained, trees):
        found = summary(trained)
        vae = VAE.load(trained / "model.safetensors")
        assert found["version"] == geomstats_vae.__version__
        assert found["command"].startswith(f"geomstats-vae train {trees}")
        assert found["seed"] == 0
        assert found["data"]["n_classes"] == 3
        assert found["model"]["parameters"]["n_centers"] == 6
        assert found["model"]["reconstruction_error"] == pytest.approx(vae.noise_std_)
        assert (found["model"]["a"], found["model"]["zeta"]) == (vae.a_, pytest.approx(vae.zeta_))
        assert np.isfinite(found["model"]["elbo"])
        assert found["interrupted"] is False

    def test_doubts_are_warnings(self, trees, tmp_path, capsys):
        options = ["--labels-column", "4", "--epochs", "1", "--output", str(tmp_path / "out")]
        assert main(["train", str(trees), *options, "--n-centers", "30"]) == 0
        out, err = capsys.readouterr()
        assert "warning: Expected features of like units, got column 'mass'" in err
        assert "60 rows and 30 centres" in err
        assert out.split() == [str(tmp_path / "out" / path) for path in self.written(tmp_path)]
        told = summary(tmp_path / "out")["warnings"]
        assert any("--standardize" in warning for warning in told)
        # Fewer rows than centres.
        err = refused(capsys, 1, "train", trees, *options, "--n-centers", "61", "--quiet")
        assert "--n-centers 6" in err

    def test_constant_columns_are_named(self, tmp_path, capsys):
        lines = [f"{k / 7:.3f},5,{k % 3}" for k in range(30)]
        (tmp_path / "t.csv").write_text("\n".join(["a,batch,b", *lines]))
        options = ["--epochs", "1", "--output", str(tmp_path / "out")]
        assert main(["train", str(tmp_path / "t.csv"), *options]) == 0
        assert "got 'batch', the same in every row" in capsys.readouterr().err

    def written(self, tmp_path):
        names = ["model.safetensors", "codes.csv", "summary.json"]
        assert {path.name for path in (tmp_path / "out").iterdir()} == set(names)
        return names

    def test_a_failure_midway_writes_nothing(self, trees, tmp_path, capsys, monkeypatch):
        def full(folder, files):
            raise ReportError("No space left on device.")

        monkeypatch.setattr(session, "write_files", full)
        options = ["--labels-column", "kind", "--quiet", "--output", tmp_path / "out"]
        assert "No space" in refused(capsys, 1, "train", trees, *SMALL, *options)
        assert not (tmp_path / "out").exists()

    def test_interrupted_training_is_kept_whole(self, trees, tmp_path, capsys, monkeypatch):
        """`VAE.fit` keeps its best epoch after Ctrl-C and goes on, so the command has to know."""
        fit = VAE.fit

        def interrupted(vae, X):
            fit(vae, X)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            return vae

        monkeypatch.setattr(VAE, "fit", interrupted)
        options = ["--labels-column", "kind", "--quiet", "--output", str(tmp_path / "out")]
        assert main(["train", str(trees), *SMALL, *options]) == 130
        assert "kept" in capsys.readouterr().err
        assert summary(tmp_path / "out")["interrupted"] is True
        # Another command does not go on, but the model is not lost.
        options[-1] = str(tmp_path / "other")
        assert main(["distances", str(trees), *SMALL, *options]) == 130
        assert "--model" in capsys.readouterr().err
        names = {path.name for path in (tmp_path / "other").iterdir()}
        assert names == {"model.safetensors", "codes.csv"}
        # Files of another run are not mixed with it.
        options[-1] = str(tmp_path / "out")
        before = (tmp_path / "out" / "summary.json").read_bytes()
        assert main(["cluster", "-k", "2", str(trees), *SMALL, *options]) == 130
        assert (tmp_path / "out" / "summary.json").read_bytes() == before


@pytest.mark.long
class TestWork:
    def run(self, tmp_path, *arguments):
        assert main([*map(str, arguments), "--quiet", "--output", str(tmp_path / "out")]) == 0
        return tmp_path / "out"

    def test_geodesics(self, trained, trees, tmp_path):
        ends = ["--from", "3", "--to", "17", "--from", "8", "--to", "8", "--n-points", "9"]
        out = self.run(tmp_path, "geodesic", trained, *ends)
        pairs = read_table(out / "pairs.csv")
        assert [(row["i"], row["j"]) for row in pairs] == [("3", "17"), ("8", "8")]
        length = [float(row["length"]) for row in pairs]
        assert 0.0 < length[0] <= 1.001 * float(pairs[0]["line_length"])
        assert length[1] == 0.0
        assert [row["status"] for row in pairs] == ["CONVERGED"] * 2
        found = np.load(out / "geodesics.npz")
        codes = read_codes(trained / "codes.csv", 2)
        np.testing.assert_allclose(found["codes"][:, 0], codes.z[[3, 8]], atol=1e-12)
        np.testing.assert_allclose(found["codes"][:, -1], codes.z[[17, 8]], atol=1e-12)
        np.testing.assert_allclose(
            found["decoded"], model.load_model(str(trained)).decode(found["codes"])
        )
        assert found["decoded"].shape == (2, 9, 3)
        assert summary(out)["results"]["n_not_converged"] == 0
        # The pairs of a run are pairs for another, with the data and the model.
        again = [trees, "--labels-column", "kind", "--model", trained, "--pairs", out / "pairs.csv"]
        other = self.run(tmp_path / "again", "geodesic", *again)
        assert [float(row["length"]) for row in read_table(other / "pairs.csv")] == length

    def test_distances(self, trained, tmp_path):
        arguments = ["distances", trained, "--first", "6", "--list-pairs"]
        out = self.run(tmp_path, *arguments)
        distances = np.load(out / "distances.npy")
        codes = read_codes(trained / "codes.csv", 2).z[:6]
        space = VAE.load(trained / "model.safetensors").latent_space_
        np.testing.assert_allclose(distances, space.metric.dist_pairwise(codes), rtol=1e-3)
        np.testing.assert_array_equal(distances, distances.T)
        listed = {(int(r["i"]), int(r["j"])): r for r in read_table(out / "pairs.csv")}
        assert float(listed[2, 5]["distance"]) == distances[2, 5]
        assert summary(out)["results"]["n_not_converged"] == 0
        assert [int(row["row"]) for row in read_table(out / "codes.csv")] == list(range(6))
        graph = self.run(tmp_path / "graph", *arguments, "--method", "graph")
        assert (np.load(graph / "distances.npy") >= 0.999 * distances).all()

    def test_clusters(self, trained, tmp_path):
        out = self.run(tmp_path, "cluster", trained, "-k", "3", "--rows", "30")
        rows, centers = read_table(out / "clusters.csv"), read_table(out / "centres.csv")
        assert len(rows) == 30
        assert len(centers) == 3
        results = summary(out)["results"]
        squares = sum(float(row["distance"]) ** 2 for row in rows)
        assert results["inertia"] == pytest.approx(squares, rel=1e-2)
        assert 0.0 <= results["nmi"] <= 1.0
        same = [row["label"] for row in rows if row["cluster"] == "0"]
        assert results["sizes"][0] == len(same) == int(centers[0]["n_rows"])
        assert results["purity"] >= 1 / 3

    def test_density(self, trained, tmp_path):
        out = self.run(tmp_path, "density", trained, "-k", "1", "--rows", "20")
        rows = read_table(out / "density.csv")
        assert {row["component"] for row in rows} == {"0"}
        results = summary(out)["results"]
        log_density = np.array([float(row["log_density"]) for row in rows])
        assert results["mean_log_density"] == pytest.approx(log_density.mean(), abs=0.1)
        assert results["weights"] == [1.0]
        assert np.shape(results["covariances"]) == (1, 2, 2)

    def test_pairs_that_fail_are_named(self, trained, tmp_path, capsys):
        out = ["--output", str(tmp_path), "--max-seconds", "1e-9", "--random", "2"]
        assert main(["geodesic", str(trained), *out]) == 0
        err = capsys.readouterr().err
        pairs = read_table(tmp_path / "pairs.csv")
        assert f"between rows {pairs[0]['i']} to {pairs[0]['j']} (OUT_OF_TIME)" in err
        assert summary(tmp_path)["results"]["n_not_converged"] == 2


class TestModels:
    """What is said before any work begins."""

    @pytest.mark.parametrize(
        ("arguments", "status", "message"),
        [
            (["--epochs", "3"], 2, "leave one out"),
            (["--standardize"], 2, "leave --standardize out"),
            (["--labels", "y.npy"], 2, "the model by --model"),
            (["--model", "other.safetensors"], 2, "Expected one model"),
            (["--from", "3"], 2, "as many --to as --from"),
            (["--from", "3", "--to", "5", "--random", "2"], 2, "leave all but one out"),
            (["--from", "3", "--to", "60"], 1, "from 0 to 59"),
            (["--pairs", "none.csv"], 1, "none.csv"),
        ],
    )
    def test_geodesics_are_refused(self, trained, capsys, arguments, status, message):
        assert message in refused(capsys, status, "geodesic", trained, "--quiet", *arguments)

    @pytest.mark.parametrize("command", ["cluster", "density"])
    def test_more_parts_than_rows(self, trained, capsys, command):
        err = refused(capsys, 1, command, trained, "-k", "61", "--quiet")
        assert "smaller -k" in err

    def test_no_training_on_a_model(self, trained, capsys):
        assert "pass a FILE" in refused(capsys, 2, "train", trained, "--quiet")
        assert "pass the FILE" in refused(capsys, 2, "report", trained, "--quiet")

    def test_numbers_too_large_to_square(self, tmp_path, capsys):
        np.save(tmp_path / "X.npy", np.full((30, 2), 1e200))
        assert "another unit" in refused(capsys, 1, "train", tmp_path / "X.npy", "--quiet")

    def test_data_of_other_features(self, trained, tmp_path, capsys):
        np.save(tmp_path / "X.npy", np.eye(5))
        arguments = [tmp_path / "X.npy", "--model", trained, "--quiet"]
        assert "data of 3 features" in refused(capsys, 1, "distances", *arguments)

    @pytest.mark.parametrize("name", ["codes.csv", "scaling.csv"])
    def test_what_stands_beside_is_checked(self, trained, tmp_path, capsys, name):
        for path in trained.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / name).write_text("feature,mean,std\nwrong,1\n")
        assert name in refused(capsys, 1, "distances", tmp_path, "--quiet")

    def test_other_data_are_told_of(self, trained, trees):
        X = np.full((5, 3), 40.0)
        loaded = model.load_model(str(trained))
        assert "--standardize" not in model.misfit(loaded, X, 40.0)
        assert model.misfit(loaded, X, loaded.vae.noise_std_) is None


class TestParts:
    def test_codes(self, tmp_path):
        codes = Codes(np.array([[0.1, 1e-300], [1 / 3, -2.0]]), np.array([7, 2]), ["a,b", 'c"'])
        codes = Codes(codes.z, codes.rows, np.array(codes.labels))
        (tmp_path / "codes.csv").write_bytes(codes.to_csv())
        found = read_codes(tmp_path / "codes.csv", 2)
        np.testing.assert_array_equal(found.z, codes.z)
        np.testing.assert_array_equal(found.rows, codes.rows)
        np.testing.assert_array_equal(found.labels, codes.labels)
        with pytest.raises(ReportError, match="3 coordinates"):
            read_codes(tmp_path / "codes.csv", 3)

    def test_scaling(self, tmp_path):
        X = np.random.default_rng(0).normal([1.0, 200.0, 0.1], [1.0, 50.0, 0.0], (40, 3))
        scaling = Scaling.of(X)
        scaled = scaling.apply(X)
        np.testing.assert_allclose(scaled[:, :2].std(axis=0), 1.0)
        np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-12)
        np.testing.assert_allclose(scaling.invert(scaled), X)
        (tmp_path / "scaling.csv").write_bytes(scaling.to_csv(["a", "b, c", "d"]))
        found = Scaling.read(tmp_path / "scaling.csv", 3)
        np.testing.assert_array_equal(found.apply(X), scaled)

    def test_summary_holds_no_infinity(self):
        value = {"a": np.array([np.inf, 1.0]), "b": (np.int64(3), np.bool_(True), None, "x")}
        assert session.plain(value) == {"a": [None, 1.0], "b": [3, True, None, "x"]}

    def test_interrupts_are_seen_and_handlers_restored(self):
        before = signal.getsignal(signal.SIGINT)
        with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.seen
        assert signal.getsignal(signal.SIGINT) is before


class TestHelp:
    def test_nothing_gives_help(self, capsys):
        assert main([]) == 0
        out, err = capsys.readouterr()
        assert all(command in out for command in COMMANDS)
        assert err == ""

    @pytest.mark.parametrize(
        ("typed", "name"),
        [
            ("/lib/geomstats_vae/__main__.py", "python -m geomstats_vae"),
            ("/bin/geomstats-vae", "geomstats-vae"),
            ("C:/Scripts/geomstats-vae.exe", "geomstats-vae"),
        ],
    )
    @pytest.mark.parametrize("command", COMMANDS)
    def test_help_names_the_program_and_ends_with_an_example(
        self, capsys, monkeypatch, typed, name, command
    ):
        monkeypatch.setattr("sys.argv", [typed])
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert text.startswith(f"usage: {name} {command} [-h]")
        assert "exit codes:" in text
        *_, example = text.split("example:\n")
        for line in example.strip().splitlines():
            assert line.strip().startswith(f"{name} ")
            options = program.make_parser().parse_args(line.strip().removeprefix(name).split())
            assert callable(options.run)

    def test_versions(self, capsys):
        assert main(["version"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"geomstats_vae {geomstats_vae.__version__}"
        assert [line.split()[0] for line in lines[1:]] == ["geomstats", "torch", "numpy", "python"]
        with pytest.raises(SystemExit):
            main(["--version"])
        assert geomstats_vae.__version__ in capsys.readouterr().out

    @pytest.mark.parametrize("command", ["train", "geodesic", "distances"])
    def test_data_are_asked_for(self, capsys, command):
        assert "--sample digits" in refused(capsys, 2, command)

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--a", "0"],
            ["--a", "wide"],
            ["--zeta", "inf"],
            ["--latent-dim", "0"],
            ["--max-seconds", "-1"],
            ["--seed", "1.5"],
            ["--rows", "some"],
            ["--rows", "3", "--first", "3"],
        ],
    )
    def test_options(self, capsys, arguments):
        assert "distances --help" in refused(capsys, 2, "distances", "x.csv", *arguments)

    def test_too_little_memory(self, capsys, monkeypatch):
        def fails(options):
            raise MemoryError("Unable to allocate 8. TiB")

        monkeypatch.setattr(session.Session, "read", fails)
        assert "8. TiB" in refused(capsys, 1, "train", "x.csv")


class TestReportCommand:
    """Each of these is refused before any training."""

    def refused(self, capsys, *arguments, status=1):
        return refused(capsys, status, "report", "--quiet", *arguments)

    def test_missing_data(self, capsys, tmp_path):
        assert "does not exist" in self.refused(capsys, "--data", tmp_path / "X.npy")

    def test_rows_that_are_all_the_same(self, capsys, tmp_path):
        np.savetxt(tmp_path / "same.csv", np.ones((20, 3)), delimiter=",", header="a,b,c")
        err = self.refused(capsys, tmp_path / "same.csv", "--output", tmp_path / "out")
        assert "20 times the same" in err
        assert not (tmp_path / "out").exists()

    def test_labels_without_data(self, capsys, tmp_path):
        assert "--data" in self.refused(capsys, "--labels", tmp_path / "y.npy", status=2)

    def test_labels_of_the_wrong_length(self, capsys, tmp_path):
        np.save(tmp_path / "X.npy", np.zeros((5, 4)))
        np.save(tmp_path / "y.npy", np.zeros(4))
        arguments = ("--data", tmp_path / "X.npy", "--labels", tmp_path / "y.npy")
        assert "Expected 5 labels" in self.refused(capsys, *arguments)

    @pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x05\x06" + bytes(18)])
    def test_unreadable_model(self, capsys, tmp_path, content):
        (tmp_path / "vae.safetensors").write_bytes(content)
        arguments = ("--model", tmp_path / "vae.safetensors", "--output", tmp_path / "out")
        assert "vae.safetensors" in self.refused(capsys, *arguments)

    def test_missing_model(self, capsys, tmp_path):
        arguments = ("--model", tmp_path / "vae.safetensors", "--output", tmp_path / "out")
        assert "vae.safetensors" in self.refused(capsys, *arguments)

    def test_model_of_other_data(self, capsys, tmp_path, trained):
        np.save(tmp_path / "X.npy", np.random.default_rng(0).random((30, 5)))
        arguments = ("--data", tmp_path / "X.npy", "--model", trained / "model.safetensors")
        assert "of 3 features" in self.refused(capsys, *arguments, "--output", tmp_path / "out")

    def test_output_that_is_a_file(self, capsys, tmp_path):
        (tmp_path / "out").write_text("")
        assert "Expected a folder" in self.refused(capsys, "--output", tmp_path / "out")

    @pytest.mark.parametrize("arguments", [("--n-pairs", "0"), ("--seed", "-1"), ("--what",)])
    def test_options(self, capsys, arguments):
        assert "--help" in self.refused(capsys, *arguments, status=2)

    def test_one_dimension(self, capsys):
        assert "nothing to draw" in self.refused(capsys, "--latent-dim", "1", status=2)

    def test_a_sample_and_a_file(self, capsys):
        err = self.refused(capsys, "a.csv", "--sample", "rotation", status=2)
        assert "leave one out" in err
        assert "invalid choice" in self.refused(capsys, "--sample", "clothes", status=2)

    def test_two_files_of_data(self, capsys):
        assert "leave one out" in self.refused(capsys, "a.csv", "--data", "b.csv", status=2)

    def test_file_without_option(self, capsys, tmp_path):
        assert "'none.csv', which does not exist" in self.refused(capsys, "none.csv")
        (tmp_path / "X.csv").mkdir()
        assert "is no file" in self.refused(capsys, tmp_path / "X.csv")

    def test_images_of_other_shapes(self, capsys, tmp_path):
        np.save(tmp_path / "X.npy", np.zeros((5, 2, 6, 7)))
        assert "2 x 6 x 7" in self.refused(capsys, tmp_path / "X.npy")

    @pytest.mark.parametrize("quiet", [False, True])
    def test_quiet_means_quiet(self, capsys, monkeypatch, quiet):
        """What geomstats logs by the root logger's handler is not printed."""
        seen = []
        printing = logging.StreamHandler(sys.stderr)
        root = logging.getLogger()
        monkeypatch.setattr(root, "handlers", [printing])

        def logs(*_, quiet, **__):
            journal = Journal(quiet=quiet)
            with journal.stage("mean"):
                root.warning("no mean yet")
            seen.extend(journal.warnings)
            root.warning("between the stages")
            return "index.html"

        monkeypatch.setattr(report_command, "build_report", logs)
        assert main(["report", *(["--quiet"] if quiet else [])]) == 0
        out, err = capsys.readouterr()
        assert out == ("" if quiet else "index.html\n")
        assert err == ("" if quiet else "mean ...\nno mean yet\nbetween the stages\n")
        assert seen == [("mean", "logged by root", "no mean yet")]
        assert root.handlers == [printing]
        assert printing.filters == []

    def test_model_options_reach_the_report(self, monkeypatch, trees):
        given = {}
        monkeypatch.setattr(
            report_command, "build_report", lambda *_, **options: given.update(options)
        )
        arguments = ["--latent-dim", "3", "--zeta", "none", "--quick", "--labels-column", "kind"]
        assert main(["report", str(trees), "--quiet", *arguments]) == 0
        vae = given["vae"]
        assert (vae.latent_dim, vae.zeta, vae.max_epochs, vae.n_centers) == (3, None, 20, 6)

    def test_interrupt(self, capsys, monkeypatch):
        def interrupted(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(report_command, "build_report", interrupted)
        assert main(["report"]) == 130
        assert capsys.readouterr().err == "geomstats-vae: interrupted: nothing was written\n"
