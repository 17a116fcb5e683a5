"""What is raised and warned about decoders."""

from __future__ import annotations


class DecoderError(ValueError):
    """A decoder that cannot define a metric: random, training, or of an unreadable output."""


class DecoderWarning(UserWarning):
    """A decoder whose metric is an approximation, or is computed with less precision."""
