"""The command line: ``python -m geomstats_vae report``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import torch

from geomstats_vae.report.build import build_report
from geomstats_vae.report.inputs import ReportError, read_inputs

_EXIT_BAD_INPUT = 2
_EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class _Parser(argparse.ArgumentParser):
    """Parser whose errors are one line, as all errors of this command are."""

    def error(self, message: str) -> NoReturn:
        raise ReportError(f"{message}; see {self.prog} --help.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    status : int
        Exit status: 0, 2 for bad input, 130 when interrupted.
    """
    try:
        options = _parser().parse_args(arguments)
        inputs = read_inputs(options.data, options.labels, options.image_shape)
        with _one_thread():
            page = build_report(
                inputs,
                options.output,
                model=options.model,
                n_pairs=options.n_pairs,
                seed=options.seed,
                quiet=options.quiet,
            )
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return _EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted: no report was written", file=sys.stderr)
        return _EXIT_INTERRUPTED
    print(page)
    return 0


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute in one thread, for as long as the command runs.

    The networks are small: threads wait for each other longer than they work, and training takes
    twice as long with two of them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="geomstats_vae", description="Geometry of the latent space of a VAE.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    report = commands.add_parser(
        "report",
        help="measure a latent space and write an HTML report",
        description="Train a VAE or load one, measure its latent space and write an HTML report. "
        "Without arguments it runs on scikit-learn's digits.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = report.add_argument
    add("--data", metavar="FILE", help=".npy or .csv file, one sample per row")
    add("--labels", metavar="FILE", help=".npy or .csv file, one class per sample")
    add("--model", metavar="FILE", help="model written by VAE.save, instead of training one")
    add("--image-shape", metavar="HxW", help="shape of a sample that is an image, such as 8x8")
    add("--output", metavar="DIR", default="report", help="folder to write to")
    add("--n-pairs", metavar="N", type=_positive, default=50, help="random pairs to join")
    add("--seed", metavar="N", type=_natural, default=0, help="seed of everything random")
    add("--quiet", action="store_true", help="show no progress")
    return parser


def _positive(text: str) -> int:
    return _whole(text, least=1)


def _natural(text: str) -> int:
    return _whole(text, least=0)


def _whole(text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, got {text!r}")
    return int(text)
