"""Latent codes in every form that they may come in."""

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

FORMS = (
    "float64",
    "float32",
    "float16",
    "int64",
    "int8",
    "list",
    "tensor",
    "half",
    "readonly",
    "reversed",
)
# How the second of two points lies to the first: shares of a normal draw that is added.
RELATIONS = {
    "apart": 1.0,
    "same": 0.0,
    "close": 1e-3,
    "closer": 1e-8,
    "closest": 1e-15,
    "far": 30.0,
}
REMOTE = RELATIONS | {"remote": 1e6, "beyond": 1e30, "at the end": 1e200}


def in_form(values, form):
    """Values as an array, a tensor or lists."""
    if form == "list" and values.size:  # lists without a number tell nothing of the dimension
        return values.tolist()
    if form == "tensor":
        return torch.from_numpy(values)
    if form == "half":
        return torch.from_numpy(values.clip(-6e4, 6e4)).half()
    if form == "readonly":
        values = values.copy()
        values.flags.writeable = False
        return values
    if form == "reversed":
        return values[..., ::-1].copy()[..., ::-1]
    dtype = np.dtype("float64" if form == "list" else form)
    limits = np.iinfo(dtype) if dtype.kind == "i" else np.finfo(dtype)
    most = float(min(-float(limits.min), float(limits.max))) / 2.0
    return values.clip(-most, most).astype(dtype)


def to_values(codes):
    """Codes as the package should read them."""
    if isinstance(codes, torch.Tensor):
        return codes.detach().double().numpy()
    return np.asarray(codes, dtype=float)


@st.composite
def values(draw, shape, scales=(1.0,)):
    """Normal numbers, some of them equal."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return draw(st.sampled_from(scales)) * rng.standard_normal(shape)


@st.composite
def codes(draw, dim, *, forms=FORMS, max_side=2, max_dims=2):
    """Codes of any batch shape."""
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=max_dims, min_side=0, max_side=max_side))
    return in_form(draw(values((*shape, dim))), draw(st.sampled_from(forms)))


@st.composite
def pairs(draw, dim, *, forms=FORMS, relations=RELATIONS, max_side=2, max_dims=2):
    """Two arrays of codes whose batch shapes broadcast."""
    shapes = draw(
        arrays.mutually_broadcastable_shapes(
            num_shapes=2, min_dims=0, max_dims=max_dims, min_side=0, max_side=max_side
        )
    ).input_shapes
    start = draw(values((*shapes[0], dim)))
    share = relations[draw(st.sampled_from(sorted(relations)))]
    added = share * draw(values((*shapes[1], dim)))
    base = start.reshape(-1, dim)[0] if start.size else np.zeros(dim)
    end = base + added
    return tuple(in_form(part, draw(st.sampled_from(forms))) for part in (start, end))


@st.composite
def rows(draw, dim, n_pairs=2, relations=RELATIONS):
    """Pairs of float64 rows."""
    start = draw(values((n_pairs, dim)))
    share = relations[draw(st.sampled_from(sorted(relations)))]
    return start, start + share * draw(values((n_pairs, dim)))


# What data may be like, as functions of normal rows.
DATA = {
    "apart": lambda rows: rows,
    "same": lambda rows: np.zeros_like(rows) + rows[:1],
    "twice": lambda rows: np.repeat(rows[::2], 2, axis=0)[: len(rows)],
    "close": lambda rows: rows[:1] + 1e-9 * rows,
    "one far": lambda rows: rows * np.where(np.arange(len(rows)) == 0, 1e3, 1.0)[:, None],
    "far": lambda rows: 30.0 * rows,
}


@st.composite
def data(draw, dim, max_rows=5):
    """Rows as estimators get them."""
    rows = draw(values((draw(st.integers(1, max_rows)), dim)))
    return DATA[draw(st.sampled_from(sorted(DATA)))](rows)
