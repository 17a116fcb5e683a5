"""Bounds of distances from below, with certificates."""
