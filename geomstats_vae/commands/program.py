"""The command line as a whole: its commands, its errors and its exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from geomstats_vae.commands import cluster, density, distances, geodesic, report, train, version
from geomstats_vae.commands.errors import BAD_INPUT, BAD_USAGE, DONE, INTERRUPTED, UsageError
from geomstats_vae.commands.options import Parser, program
from geomstats_vae.report.errors import ReportError
from geomstats_vae.report.provenance import SCRIPT

_ABOUT = """Distances, curves, clusters and densities in the latent space of a variational
autoencoder, measured by its decoder."""
_EPILOG = """{0} COMMAND --help says more of a command, with an example.

a first look at your own table:
  {0} report data.csv --quick --output my-report"""
_COMMANDS = (train, report, geodesic, distances, cluster, density, version)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    status : int
        Exit code: 0 when done; 1 if data, model or folder cannot be used; 2 if options cannot; 130
        when interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    if not arguments:
        parser.print_help()
        return DONE
    try:
        options = parser.parse_args(arguments)
        options.typed = arguments
        return int(options.run(options))
    except UsageError as error:
        return _failed(f"error: {error}", BAD_USAGE)
    except ReportError as error:
        return _failed(f"error: {error}", BAD_INPUT)
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        return _failed(
            f"error: Expected data that fit into memory, got more{reason}; pass fewer rows.",
            BAD_INPUT,
        )
    except KeyboardInterrupt as error:
        return _failed(f"interrupted: {str(error) or 'nothing was written'}", INTERRUPTED)


def _failed(message: str, status: int) -> int:
    print(f"{SCRIPT}: {' '.join(message.split())}", file=sys.stderr)
    return status


def make_parser() -> Parser:
    """Make the parser of the command line.

    Returns
    -------
    parser : Parser
        It puts the function that does the work into the option ``run``.
    """
    parser = Parser(
        prog=program(),
        description=_ABOUT,
        epilog=_EPILOG.format(program()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"{SCRIPT} {version.versions()['geomstats_vae']}"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser
