"""Options that several commands have, and the texts around them."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from geomstats_vae.commands.errors import UsageError
from geomstats_vae.models import VAE
from geomstats_vae.models.noise import N_CENTERS
from geomstats_vae.report.inputs import SAMPLES

_MODULE = "python -m geomstats_vae"
# What training takes by default, as `VAE` has it, and for a first look.
EPOCHS, QUICK_EPOCHS = VAE().max_epochs, 20

_EXIT_CODES = """exit codes:
  0    done
  1    the data, the model or the output folder cannot be used; one line says why
  2    an option does not exist or does not fit the others
  130  interrupted by Ctrl-C; what is kept is whole"""

# What `_model` adds; they say how to train, so a trained model goes without them.
TRAINING = ("latent_dim", "epochs", "a", "n_centers", "zeta")

Group = argparse._ArgumentGroup


class Parser(argparse.ArgumentParser):
    """Parser whose errors are one line, as all errors of the commands are."""

    def error(self, message: str) -> NoReturn:
        """Raise an error about the options.

        Parameters
        ----------
        message : str
            What is wrong.

        Raises
        ------
        UsageError
            Always.
        """
        raise UsageError(f"{message}; see {self.prog} --help.")


def program() -> str:
    """Return the name that was typed to get here.

    Returns
    -------
    name : str
        That of the script, or how the package is run as a module.
    """
    typed = Path(sys.argv[0] or "")
    if typed.name in ("__main__.py", "-c", "-m", ""):
        return _MODULE
    return typed.stem if typed.suffix in (".exe", ".py") else typed.name


def new_command(
    commands: argparse._SubParsersAction[Parser], name: str, about: str, text: str, example: str
) -> Parser:
    """Add a command.

    Parameters
    ----------
    commands : argparse action
        Where commands are added.
    name : str
        Its name.
    about : str
        What it does, for the list of commands.
    text : str
        What it does and writes.
    example : str
        Lines of arguments that run one after the other in an empty folder.

    Returns
    -------
    parser : Parser
        Its parser, for its own options.
    """
    lines = [f"  {program()} {line}" for line in example.strip().splitlines()]
    return commands.add_parser(
        name,
        help=about,
        description=text,
        epilog="\n".join([_EXIT_CODES, "", "example:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_source(parser: Parser, what: str, *, images: bool = False) -> Group:
    """Add the options that say which data.

    Parameters
    ----------
    parser : Parser
        Parser of a command.
    what : str
        What FILE may be.
    images : bool
        Whether the shape of images matters.

    Returns
    -------
    group : argparse group
        The options, for more.
    """
    group = parser.add_argument_group("data")
    add = group.add_argument
    add("file", metavar="FILE", nargs="?", help=what)
    add(
        "--sample",
        choices=SAMPLES,
        help="data that come with the package, in place of a file: scikit-learn's digits, or one "
        "digit rotated by 0 to 300 degrees",
    )
    add("--labels", metavar="FILE", help="file with one class per row")
    add(
        "--labels-column",
        metavar="NAME",
        help="column of a table that holds the classes, by its name or its number from 1; by "
        "default one of words, or one named label, class or target",
    )
    add(
        "--standardize",
        action="store_true",
        help="bring every feature to mean 0 and standard deviation 1, for columns of different "
        "units",
    )
    if images:
        add(
            "--image-shape",
            metavar="HxW",
            help="shape of a sample that is an image, such as 8x8, 32x32x3 or 3x32x32",
        )
    return group


def add_model(parser: Parser) -> Group:
    """Add the options that say which model.

    Parameters
    ----------
    parser : Parser
        Parser of a command.

    Returns
    -------
    group : argparse group
        The options, for more.
    """
    defaults = VAE()
    group = parser.add_argument_group("model")
    add = group.add_argument
    add("--latent-dim", metavar="N", type=positive, help=f"dimension ({defaults.latent_dim})")
    add("--epochs", metavar="N", type=positive, help=f"epochs of training, at most ({EPOCHS})")
    add("--a", metavar="X", type=number_or("auto"), help="width of the kernels of sigma (auto)")
    add(
        "--n-centers",
        metavar="N",
        type=positive,
        help=f"number of these kernels ({N_CENTERS}, or a tenth of the rows if that is less)",
    )
    add(
        "--zeta",
        metavar="X",
        type=number_or("auto", "none"),
        help="precision far from the data (auto)",
    )
    return group


def add_run(parser: Parser, output: str, quick: str) -> Group:
    """Add the options that say how to work and where to write.

    Parameters
    ----------
    parser : Parser
        Parser of a command.
    output : str
        Folder to write to by default.
    quick : str
        What --quick does.

    Returns
    -------
    group : argparse group
        The options, for more.
    """
    group = parser.add_argument_group("run")
    add = group.add_argument
    add("-o", "--output", metavar="DIR", default=output, help="folder to write to (%(default)s)")
    add("--quick", action="store_true", help=f"a first look: {quick}")
    add(
        "--seed",
        metavar="N",
        type=natural,
        default=0,
        help="seed of everything random (%(default)s)",
    )
    add(
        "--max-seconds",
        metavar="X",
        type=positive_number,
        help="limit in seconds of the training, and again of the work after it; the best state is "
        "kept",
    )
    add("--quiet", action="store_true", help="print nothing but errors")
    return group


def add_trained(group: Group) -> None:
    """Add the option that takes a trained model.

    Parameters
    ----------
    group : argparse group
        Options of the model.
    """
    group.add_argument(
        "--model",
        metavar="FILE",
        help="model written by train or VAE.save, or the folder of train, in place of training; "
        "the scaling beside it is used",
    )


def add_rows(group: Group, default: str) -> None:
    """Add the options that take some of the rows.

    Parameters
    ----------
    group : argparse group
        Options of the data.
    default : str
        How many are taken by default.
    """
    choice = group.add_mutually_exclusive_group()
    choice.add_argument(
        "--rows",
        metavar="N",
        type=count_or_all,
        help=f"how many rows to take, drawn with the seed, or all ({default})",
    )
    choice.add_argument("--first", metavar="N", type=positive, help="take the first N rows instead")


def positive(text: str) -> int:
    """Read a whole number from 1 on; argparse tells of others."""
    return _whole(text, least=1)


def natural(text: str) -> int:
    """Read a whole number from 0 on; argparse tells of others."""
    return _whole(text, least=0)


def count_or_all(text: str) -> float:
    """Read a whole number from 1 on, or "all", which is infinity."""
    return math.inf if text == "all" else positive(text)


def _whole(text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, got {text!r}")
    return int(text)


def positive_number(text: str) -> float:
    """Read a positive and finite number; argparse tells of others."""
    return float(number_or()(text))


def number_or(*words: str) -> Callable[[str], float | str]:
    """Make a reader of positive numbers, or words.

    Parameters
    ----------
    *words : str
        The words.

    Returns
    -------
    read : callable
        Reads a text; argparse tells of others.
    """

    def read(text: str) -> float | str:
        if text in words:
            return text
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0.0 < number < math.inf:
            expected = " or ".join(["a positive number", *words])
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return number

    return read
