"""Decoders and codes of trained models of other libraries: pythae, scvi-tools and diffusers.

None of the libraries is imported. A model is known by what it has, and its decoder is copied: the
caller's model, its mode and its device stay as they are.
"""

from geomstats_vae.manifolds.libraries.diffusers import DiffusersDecoder, read_diffusers
from geomstats_vae.manifolds.libraries.model import LibraryModel
from geomstats_vae.manifolds.libraries.pythae import PythaeDecoder, read_pythae
from geomstats_vae.manifolds.libraries.scvi import ScviDecoder, read_scvi

__all__ = [
    "DiffusersDecoder",
    "LibraryModel",
    "PythaeDecoder",
    "ScviDecoder",
    "read_diffusers",
    "read_pythae",
    "read_scvi",
]
