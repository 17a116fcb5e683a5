"""How far one distance travels through the package: files, functions, frames, conversions.

Counts what `dist(a, b)` on the packaged model of the digits calls, once everything that is built
on first use is there: files and functions of the package, the deepest nesting of its frames, and
conversions between numpy and torch, in all and outside the evaluation of the decoder.

    python benchmarks/trace_dist.py [--list]
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

import geomstats_vae
from geomstats_vae.datasets import load_digits_vae

PACKAGE = str(Path(geomstats_vae.__file__).parent)
CONVERSIONS = ("from_numpy", "as_tensor", "tensor", "numpy", "__array__")
# Frames between which arrays may be converted freely: those that evaluate the decoder.
EVALUATION = ("Evaluator.", "Model.variation")


class Trace:
    """Counts calls by `sys.setprofile`."""

    def __init__(self):
        self.files, self.functions = {}, set()
        self.depth = self.deepest = 0
        self.conversions, self.outside = 0, []

    def __call__(self, frame, event, arg):
        """Take in one event."""
        name = frame.f_code.co_filename
        if name.startswith(PACKAGE):
            if event == "call":
                self.depth += 1
                self.deepest = max(self.deepest, self.depth)
                file = name.removeprefix(PACKAGE + "/")
                self.files[file] = self.files.get(file, 0) + 1
                self.functions.add((file, frame.f_code.co_qualname))
            elif event == "return":
                self.depth -= 1
        if event == "c_call" and _converts(arg):
            self.conversions += 1
            if not _evaluates(frame):
                self.outside.append(f"{Path(name).name}:{frame.f_lineno} {arg.__name__}")


def _converts(function):
    owner = getattr(function, "__self__", None)
    if function.__name__ == "numpy":
        return isinstance(owner, torch.Tensor)
    return function.__name__ in ("from_numpy", "as_tensor", "tensor") and (
        owner is None or getattr(owner, "__name__", "").startswith("torch")
    )


def _evaluates(frame):
    while frame is not None:
        if any(name in frame.f_code.co_qualname for name in EVALUATION):
            return True
        frame = frame.f_back
    return False


def main():
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="name files and conversions")
    options = parser.parse_args()
    vae = load_digits_vae()
    codes, metric = vae.codes_, vae.latent_space_.metric
    pairs = np.random.default_rng(0).integers(0, len(codes), (20, 2))
    for a, b in pairs:  # what is built on first use
        metric.dist(codes[a], codes[b])
    traces = []
    for a, b in pairs:
        trace = Trace()
        sys.setprofile(trace)
        try:
            metric.dist(codes[a], codes[b])
        finally:
            sys.setprofile(None)
        traces.append(trace)
    worst = max(traces, key=lambda trace: len(trace.files))
    print(f"files       {max(len(t.files) for t in traces)}")
    print(f"functions   {max(len(t.functions) for t in traces)}")
    print(f"frames      {max(t.deepest for t in traces)}")
    print(f"conversions {max(t.conversions for t in traces)}")
    print(f"  of them outside the decoder's evaluation {max(len(t.outside) for t in traces)}")
    if options.list:
        for file, calls in sorted(worst.files.items()):
            print(f"    {calls:6d} calls  {file}")
        for place in sorted(set(worst.outside)):
            print(f"    conversion outside  {place}")


if __name__ == "__main__":
    main()
