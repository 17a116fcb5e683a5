"""The command line: train a model, and what can be done with it, as files to go on with."""

from geomstats_vae.commands.program import main

__all__ = ["main"]
