"""The command line: ``python -m geomstats_vae report``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import torch

from geomstats_vae.report.build import build_report
from geomstats_vae.report.errors import ReportError
from geomstats_vae.report.inputs import SAMPLES, read_inputs

_SCRIPT = "geomstats-vae"
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
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    if not arguments:
        parser.print_help()
        return 0
    try:
        page = _report(parser.parse_args(arguments))
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return _EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted: no report was written", file=sys.stderr)
        return _EXIT_INTERRUPTED
    if page is not None:
        print(page)
    return 0


def _report(options: argparse.Namespace) -> Path | None:
    """Write a report and return its page, or None if nobody wants to know."""
    if options.file is not None and options.data is not None:
        raise ReportError(
            f"Expected one file of data, got {options.file!r} and --data {options.data!r}; leave "
            "one out."
        )
    with ExitStack() as stack:
        stack.enter_context(_one_thread())
        if options.quiet:
            stack.enter_context(_no_logging())
        data = options.data if options.file is None else options.file
        page = build_report(
            read_inputs(data, options.labels, options.image_shape, options.sample),
            options.output,
            model=options.model,
            n_pairs=options.n_pairs,
            seed=options.seed,
            quiet=options.quiet,
        )
    return None if options.quiet else page


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


@contextmanager
def _no_logging() -> Iterator[None]:
    """Keep the root logger from printing, for as long as the command runs.

    geomstats gives it a handler that prints, and the level INFO, when it is imported. The report
    records what is logged by a handler of its own, which is added later and not concerned.
    """
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(_nothing)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False


def _parser() -> argparse.ArgumentParser:
    name = _SCRIPT if Path(sys.argv[0]).stem == _SCRIPT else "python -m geomstats_vae"
    parser = _Parser(prog=name, description="Geometry of the latent space of a VAE.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    report = commands.add_parser(
        "report",
        help="measure a latent space and write an HTML report",
        description="Train a VAE or load one, measure its latent space and write an HTML report. "
        "Without arguments it runs on scikit-learn's digits.",
    )
    add = report.add_argument
    add(
        "file",
        metavar="FILE",
        nargs="?",
        help=".npy, .npz, .csv, .tsv or .txt file, one sample per row",
    )
    add("--data", metavar="FILE", help="the same, as an option")
    add(
        "--sample",
        choices=SAMPLES,
        help="data that come with the package, in place of a file: scikit-learn's digits (the "
        "default), or one digit rotated by 0 to 300 degrees",
    )
    add("--labels", metavar="FILE", help="file with one class per sample")
    add("--model", metavar="FILE", help="model written by VAE.save, instead of training one")
    add(
        "--image-shape",
        metavar="HxW",
        help="shape of a sample that is an image, such as 8x8, 32x32x3 or 3x32x32",
    )
    add("--output", metavar="DIR", default="report", help="folder to write to (%(default)s)")
    add(
        "--n-pairs",
        metavar="N",
        type=_positive,
        default=50,
        help="random pairs to join (%(default)s)",
    )
    add(
        "--seed",
        metavar="N",
        type=_natural,
        default=0,
        help="seed of everything random (%(default)s)",
    )
    add("--quiet", action="store_true", help="print nothing but errors")
    return parser


def _positive(text: str) -> int:
    return _whole(text, least=1)


def _natural(text: str) -> int:
    return _whole(text, least=0)


def _whole(text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, got {text!r}")
    return int(text)
