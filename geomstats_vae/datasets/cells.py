"""Gene expression of single cells."""

from __future__ import annotations

import numpy as np
from sklearn.utils import Bunch


def load_pbmc68k() -> Bunch:
    """Load 700 blood cells of ten types, a part of 10x Genomics' "PBMC 68k".

    The file is part of the scanpy package: no network is needed.

    Returns
    -------
    cells : sklearn.utils.Bunch
        With ``data``, shape=[700, 765], float64, the logarithms of one plus the normalised counts
        of 765 variable genes; ``target``, shape=[700], the cells' types as indices of
        ``target_names``, a list of str; and ``feature_names``, a list of str, the genes.

    Raises
    ------
    ImportError
        If scanpy, whose package contains the data, is not installed.

    References
    ----------
    .. [1] Zheng et al. "Massively parallel digital transcriptional profiling of single cells."
       Nature Communications 8, 14049 (2017).
    """
    try:
        from scanpy.datasets import pbmc68k_reduced
    except ImportError as error:
        raise ImportError(
            "Expected scanpy, which contains the cells, got no such package; install it with "
            "'pip install scanpy' or 'pip install geomstats_vae[cells]'."
        ) from error
    cells = pbmc68k_reduced()
    types = cells.obs["bulk_labels"].cat
    return Bunch(
        # The file's other matrix is the same, scaled gene by gene.
        data=cells.raw.X.toarray().astype(np.float64),
        target=np.asarray(types.codes, dtype=int),
        target_names=[str(name) for name in types.categories],
        feature_names=[str(name) for name in cells.raw.var_names],
    )
