"""Surfaces of which everything is known in closed form, as functions [n, dim] -> [n, n_outputs]."""

import math

import torch

from geomstats_vae.immersions import AutodiffImmersion, Immersion, Jet, compile_immersion


def plane(z):
    """A plane in skew coordinates: F = A z + b, so that M = A'A is constant."""
    return z @ PLANE.to(z).T + 1.0


PLANE = torch.tensor([[1.0, 0.5], [0.0, 2.0], [-0.5, 0.25]], dtype=torch.float64)


def plane_network():
    """The same as a network, whose derivatives are fast."""
    module = torch.nn.Linear(2, 3).double().eval()
    module.weight.data, module.bias.data = PLANE.clone(), torch.ones(3, dtype=torch.float64)
    return module


def plane_distance(start, end):
    return (plane(end) - plane(start)).norm(dim=-1)


def sphere(z):
    """The unit sphere in stereographic coordinates from the north pole: M = 4 / (1 + |z|^2)^2."""
    square = (z * z).sum(-1, keepdim=True)
    return torch.cat((2.0 * z, square - 1.0), dim=-1) / (1.0 + square)


def sphere_chart(x):
    """The inverse of `sphere`, away from the north pole."""
    return x[..., :-1] / (1.0 - x[..., -1:])


def sphere_metric(z):
    """Of any dimension."""
    eye = torch.eye(z.shape[-1], dtype=z.dtype)
    return 4.0 / (1.0 + (z * z).sum(-1))[..., None, None] ** 2 * eye


def sphere_distance(start, end):
    # By the half angle: the arc cosine loses half of the digits near 0.
    return 2.0 * torch.asin(0.5 * (sphere(end) - sphere(start)).norm(dim=-1))


def sphere_push(z, v):
    """Derivative of `sphere` along v, in closed form."""
    square = (z * z).sum(-1, keepdim=True)
    change = 2.0 * (z * v).sum(-1, keepdim=True)
    top = torch.cat((2.0 * v, change), dim=-1) / (1.0 + square)
    return top - sphere(z) * change / (1.0 + square)


def sphere_exp(z, v):
    """Great circles."""
    x, u = sphere(z), sphere_push(z, v)
    r = u.norm(dim=-1, keepdim=True)
    return sphere_chart(torch.cos(r) * x + torch.sinc(r / math.pi) * u)


def spherical(z):
    """The unit sphere by colatitude and longitude: M = diag(1, sin(colatitude)^2)."""
    polar, azimuth = z.unbind(-1)
    return torch.stack(
        (polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos()), dim=-1
    )


def spherical_distance(start, end):
    return 2.0 * torch.asin(0.5 * (spherical(end) - spherical(start)).norm(dim=-1))


def cylinder(z):
    """Flat: M = 1, geodesics are straight lines."""
    angle, height = z.unbind(-1)
    return torch.stack((angle.cos(), angle.sin(), height), dim=-1)


def cylinder_distance(start, end):
    """Of the geodesic that does not wind around: that of the universal cover."""
    return (end - start).norm(dim=-1)


def swiss_roll(z):
    """Flat: with the arc length s of the spiral, M = diag(1 + t^2, 1), ds = sqrt(1 + t^2) dt."""
    t, height = z.unbind(-1)
    return torch.stack((t * t.cos(), height, t * t.sin()), dim=-1)


def swiss_roll_unroll(z):
    """Isometry to the Euclidean plane."""
    t, height = z.unbind(-1)
    return torch.stack((0.5 * (t * torch.sqrt(1.0 + t * t) + torch.asinh(t)), height), dim=-1)


def swiss_roll_roll(flat):
    """The inverse of `swiss_roll_unroll`, by Newton's iteration; arc length is convex for t > 0."""
    s = flat[..., 0]
    t = torch.sign(s) * torch.sqrt(2.0 * s.abs())
    for _ in range(50):
        excess = 0.5 * (t * torch.sqrt(1.0 + t * t) + torch.asinh(t)) - s
        t = t - excess / torch.sqrt(1.0 + t * t)
    return torch.stack((t, flat[..., 1]), dim=-1)


def swiss_roll_distance(start, end):
    return (swiss_roll_unroll(end) - swiss_roll_unroll(start)).norm(dim=-1)


def swiss_roll_exp(z, v):
    speed = torch.stack((torch.sqrt(1.0 + z[..., 0] ** 2) * v[..., 0], v[..., 1]), dim=-1)
    return swiss_roll_roll(swiss_roll_unroll(z) + speed)


TORUS_RADII = 2.0, 1.0


def torus(z):
    """By the angle around the tube and the angle around the axis."""
    outer, inner = TORUS_RADII
    tube, axis = z.unbind(-1)
    ring = outer + inner * tube.cos()
    return torch.stack((ring * axis.cos(), ring * axis.sin(), inner * tube.sin()), dim=-1)


def torus_metric(z):
    outer, inner = TORUS_RADII
    ring = outer + inner * z[..., 0].cos()
    return torch.diag_embed(torch.stack((torch.full_like(ring, inner**2), ring**2), dim=-1))


def torus_curvature(z):
    outer, inner = TORUS_RADII
    return z[..., 0].cos() / (inner * (outer + inner * z[..., 0].cos()))


def paraboloid(z):
    """The graph of |z|^2 / 2, of any dimension: M = 1 + z z'."""
    return torch.cat((z, 0.5 * (z * z).sum(-1, keepdim=True)), dim=-1)


def paraboloid_metric(z):
    return torch.eye(z.shape[-1], dtype=z.dtype) + z[..., :, None] * z[..., None, :]


def paraboloid_curvature(z):
    """Gaussian, of the paraboloid over a plane."""
    return 1.0 / (1.0 + (z * z).sum(-1)) ** 2


class ClosedImmersion(Immersion):
    """A surface with its derivatives in closed form: far faster than those that torch finds.

    `derivatives` takes z to dF(e_k), shape=[n_points, dim, n_outputs], and d^2F(e_k, e_l),
    shape=[n_points, dim, dim, n_outputs].
    """

    def __init__(self, surface, derivatives, dim=2):
        super().__init__(dim)
        self.surface, self.derivatives = surface, derivatives

    def __call__(self, z):
        return self.surface(z)

    def jacobian(self, z):
        return self.surface(z), self.derivatives(z)[0]

    def push(self, z, v):
        return (v[:, None] @ self.derivatives(z)[0])[:, 0]

    def jet(self, z, v=None):
        tangents, second = self.derivatives(z)
        along = None if v is None else torch.einsum("nkla,nl->nka", second, v)
        return Jet(tangents, along, lambda q: torch.einsum("nkla,na->nkl", second, q))


def sphere_derivatives(z):
    """Of `sphere` = e + g (z, -1) with g = 2 / (1 + |z|^2), so that dg(u) = -g^2 <z, u>."""
    eye = torch.eye(z.shape[1], dtype=z.dtype)
    g = 2.0 / (1.0 + (z * z).sum(1))[:, None]
    first = -g * g * z
    second = 2.0 * g[:, :, None] ** 3 * z[:, :, None] * z[:, None] - (g * g)[:, :, None] * eye
    ray = torch.cat((z, -torch.ones_like(z[:, :1])), dim=1)
    axes = torch.cat((eye, torch.zeros_like(eye[:, :1])), dim=1)
    tangents = first[:, :, None] * ray[:, None] + g[:, :, None] * axes
    mixed = first[:, :, None, None] * axes
    return tangents, second[..., None] * ray[:, None, None] + mixed + mixed.transpose(1, 2)


def torus_derivatives(z):
    """Of `torus`."""
    outer, inner = TORUS_RADII
    (tube_sin, axis_sin), (tube_cos, axis_cos) = z.sin().unbind(1), z.cos().unbind(1)
    zero, ring = torch.zeros_like(tube_sin), outer + inner * tube_cos
    down, along = inner * tube_sin, inner * tube_cos
    by_tube = torch.stack((-down * axis_cos, -down * axis_sin, along), dim=1)
    by_axis = torch.stack((-ring * axis_sin, ring * axis_cos, zero), dim=1)
    tube_tube = torch.stack((-along * axis_cos, -along * axis_sin, -down), dim=1)
    tube_axis = torch.stack((down * axis_sin, -down * axis_cos, zero), dim=1)
    axis_axis = torch.stack((-ring * axis_cos, -ring * axis_sin, zero), dim=1)
    rows = torch.stack((tube_tube, tube_axis, tube_axis, axis_axis), dim=1)
    return torch.stack((by_tube, by_axis), dim=1), rows.unflatten(1, (2, 2))


def closed_sphere(dim=2):
    """The immersion of `sphere`, in closed form."""
    return ClosedImmersion(sphere, sphere_derivatives, dim)


def closed_torus():
    """The immersion of `torus`, in closed form."""
    return ClosedImmersion(torus, torus_derivatives)


def immersion_of(surface, dim=2, **options):
    """The immersion of a surface: the fast one, or, with options, that differentiated by torch."""
    fast = None if options else compile_immersion(surface, dim)
    return AutodiffImmersion(surface, dim, **options) if fast is None else fast


SURFACES = {
    "plane": plane,
    "sphere": sphere,
    "spherical": spherical,
    "cylinder": cylinder,
    "swiss_roll": swiss_roll,
    "torus": torus,
    "paraboloid": paraboloid,
}
