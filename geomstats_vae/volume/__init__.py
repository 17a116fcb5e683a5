"""Volumes and integrals over tangent spaces: frames, rays, cut points and quadratures."""

__all__: list[str] = []
