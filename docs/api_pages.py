"""The pages of the API: one for each module, listing its public names.

A name is documented once, on the first page that has it: `VAE` as ``geomstats_vae.VAE``, which the
page of ``geomstats_vae.models`` links to.
"""

from __future__ import annotations

import importlib

TOP = "geomstats_vae"
# In the order of the package's layers.
PARTS = (
    "immersions",
    "geodesics",
    "geometry",
    "geometry.diagnosis",
    "volume",
    "manifolds",
    "models",
    "estimators",
    "sampling",
    "datasets",
    "plotting",
    "report",
)


def public_names(module):
    """Names that a module exports, and the objects."""
    exported = importlib.import_module(module)
    return {name: getattr(exported, name) for name in exported.__all__}


def write_api_pages(folder):
    """Write the pages into a folder, touching only those that change.

    Pages of names that are gone are removed: autosummary writes them and never looks back.
    """
    documented = {}
    for module in (TOP, *(f"{TOP}.{part}" for part in PARTS)):
        own, elsewhere = [], []
        for name, thing in public_names(module).items():
            (elsewhere if id(thing) in documented else own).append(name)
            documented.setdefault(id(thing), f"{module}.{name}")
        links = [documented[id(public_names(module)[name])] for name in elsewhere]
        _write(folder / f"{module}.rst", _page(module, sorted(own), sorted(links)))
    for page in (folder / "generated").glob("*.rst"):
        if page.stem not in documented.values():
            page.unlink()


def _page(module, own, elsewhere):
    first = importlib.import_module(module).__doc__.strip()
    lines = [module, "=" * len(module), "", first, "", f".. currentmodule:: {module}", ""]
    if own:
        lines += [".. autosummary::", "   :toctree: generated", ""]
        lines += [f"   {name}" for name in own] + [""]
    if elsewhere:
        links = ", ".join(f":py:obj:`~{name}`" for name in elsewhere)
        lines += [f"Documented elsewhere: {links}.", ""]
    return "\n".join(lines)


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
