"""Fast derivatives of plain networks: chains of linear maps and activations, and RBF precisions.

Values and tangents travel together as rows of one matrix product, and second derivatives are
contracted on the way back, so a Newton step costs about three evaluations of the network.
`compile_immersion` recognises what it can and returns None for the rest, which autodiff serves.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.immersion import Immersion, Jet
from geomstats_vae.immersions.linear import Affine, LinearLayer, linear_layer
from geomstats_vae.immersions.linearization import (
    Bend,
    ChainLinearization,
    JoinedLinearization,
    Squares,
)
from geomstats_vae.immersions.rbf import RBFPrecision

# Each activation: module -> (u -> value, first derivative, second derivative). Second derivatives
# are thunks: only Newton matrices and jets ask for them.


def _tanh(layer, u):
    y = torch.tanh(u)
    slope = 1.0 - y * y
    return y, slope, lambda: -2.0 * y * slope


def _sigmoid(layer, u):
    y = torch.sigmoid(u)
    slope = y * (1.0 - y)
    return y, slope, lambda: slope * (1.0 - 2.0 * y)


def _relu(layer, u):
    slope = (u > 0).to(u.dtype)
    return u * slope, slope, lambda: torch.zeros_like(u)


def _leaky_relu(layer, u):
    slope = torch.where(u > 0, torch.ones_like(u), layer.negative_slope)
    return u * slope, slope, lambda: torch.zeros_like(u)


def _elu(layer, u):
    tail = layer.alpha * torch.exp(torch.clamp(u, max=0.0))
    positive = u > 0
    slope = torch.where(positive, torch.ones_like(u), tail)
    curvature = torch.where(positive, torch.zeros_like(u), tail)
    return functional.elu(u, layer.alpha), slope, lambda: curvature


def _softplus(layer, u):
    # Past the threshold torch's value is a line.
    line = layer.beta * u > layer.threshold
    slope = torch.where(line, 1.0, torch.sigmoid(layer.beta * u))
    value = functional.softplus(u, layer.beta, layer.threshold)
    return value, slope, lambda: layer.beta * slope * (1.0 - slope)


def _silu(layer, u):
    s = torch.sigmoid(u)
    slope = s * (1.0 + u * (1.0 - s))
    return u * s, slope, lambda: s * (1.0 - s) * (2.0 + u * (1.0 - 2.0 * s))


_ACTIVATIONS = {
    nn.Tanh: _tanh,
    nn.Sigmoid: _sigmoid,
    nn.ReLU: _relu,
    nn.LeakyReLU: _leaky_relu,
    nn.ELU: _elu,
    nn.Softplus: _softplus,
    nn.SiLU: _silu,
}
_IMAGE_AXES = 3  # channels, height and width
_KINKED = (nn.ReLU, nn.LeakyReLU)


class _Chain:
    """Alternating affine maps and activations.

    Tangents are [dim, n_points, width], so that products with slopes of [n_points, width] run
    through memory in order; n_points is 1 before the first activation, where all are the same.
    """

    def __init__(self, layers):
        self.layers = layers
        self.smooth = not any(isinstance(layer, _KINKED) for layer in layers)

    def value(self, z):
        for layer in self.layers:
            z = layer.value(z) if isinstance(layer, LinearLayer) else _activate(layer, z)[0]
        return z

    def push(self, z, rows):
        """Value and tangents; rows of shape=[n_points, dim] are one direction for each point."""
        for layer in self.layers:
            if isinstance(layer, LinearLayer):
                z, rows = layer.value(z), layer.tangents(rows)
                continue
            z, slope, _ = _activate(layer, z)
            rows = rows * slope
        return z, rows

    def jet(self, z, v):
        """Tangents, their derivatives along v if given, and the record of the way."""
        rows, second = _basis(z), None
        record = []
        for layer in self.layers:
            if isinstance(layer, LinearLayer):
                z, rows = layer.value(z), layer.tangents(rows)
                second = None if second is None else layer.tangents(second)
                continue
            z, slope, curvature = _activate(layer, z)
            curvature = curvature()
            record.append((rows, slope, curvature))
            if v is not None:
                bend = rows * (_along(v, rows) * curvature)
                second = bend if second is None else torch.addcmul(bend, second, slope)
            rows = rows * slope
        if v is not None and second is None:
            second = torch.zeros_like(rows)
        return rows, second, record

    def condensed(self):
        """Chain with the same inner products of tangents and no more outputs than it needs."""
        last = self.layers[-1]
        if not isinstance(last, Affine) or last.weight.shape[0] <= last.weight.shape[1]:
            return self
        return _Chain([*self.layers[:-1], Affine(torch.linalg.qr(last.weight, mode="r")[1])])

    def linearize(self, z, v):
        """Jacobian-free products."""
        steps, rows = [], v[:, None, :]
        for layer in self.layers:
            if isinstance(layer, LinearLayer):
                z, rows = layer.value(z), layer.tangents(rows)
                steps.append(layer)
                continue
            z, slope, curvature = _activate(layer, z)
            steps.append(Bend(slope, curvature(), rows[:, 0]))
            rows = rows * slope[:, None, :]
        return ChainLinearization(rows[:, 0], steps)

    def contract(self, covector, record, dim):
        """Hessian of covector . value, from the record of `jet`, last activation first."""
        hessian = covector.new_zeros(covector.shape[0], dim, dim)
        record = list(record)
        for layer in reversed(self.layers):
            if isinstance(layer, LinearLayer):
                covector = layer.pull(covector)
                continue
            rows, slope, curvature = record.pop()
            hessian = hessian + _weighted_gram(rows, covector * curvature)
            covector = covector * slope
        return hessian


def _basis(z):
    """Latent directions, the same at all points, shape=[dim, 1, dim]."""
    return torch.eye(z.shape[1], dtype=z.dtype, device=z.device)[:, None, :]


def _along(v, rows):
    """Combine tangents, shape=[dim, n_points or 1, width], to those along v."""
    if rows.shape[1] == 1:
        return v @ rows[:, 0]
    return torch.einsum("kn,knp->np", v.T, rows) if len(rows) > 8 else _sum_product(v, rows)


def _sum_product(v, rows):
    total = v[:, 0, None] * rows[0]
    for k in range(1, len(rows)):
        total = torch.addcmul(total, v[:, k, None], rows[k])
    return total


def _activate(layer, u):
    return _ACTIVATIONS[type(layer)](layer, u)


def _weighted_gram(rows, weights):
    """Gram matrices of tangents with a weight for each output, shape=[n_points, dim, dim]."""
    if rows.shape[1] == 1:
        dim = len(rows)
        return (weights @ (rows * rows.transpose(0, 1)).flatten(0, 1).T).view(-1, dim, dim)
    return (rows * weights).transpose(0, 1) @ rows.permute(1, 2, 0)


class _RBFStd:
    """sigma = (W v(z) + zeta)^(-1/2) with v_k = exp(-lambda_k ||z - c_k||^2).

    Tangents are [dim, n_points, width].
    """

    smooth = True

    def __init__(self, rbf):
        self.centers = rbf.centers.detach()
        self.lambdas = rbf.lambdas.detach()
        self.weights = rbf.weights.detach()
        self.zeta = rbf.zeta.detach()

    def _kernels(self, z):
        delta = z.T[:, :, None] - self.centers.T[:, None, :]
        square = delta[0] * delta[0]
        for part in delta[1:]:
            square = torch.addcmul(square, part, part)  # torch sums an axis slowly
        return delta, torch.exp(-self.lambdas * square)

    def _std(self, kernels):
        return torch.rsqrt(torch.addmm(self.zeta, kernels, self.weights.T))

    def value(self, z):
        return self._std(self._kernels(z)[1])

    def push(self, z, rows):
        """Value and tangents; rows of shape=[n_points, dim] are one direction for each point."""
        delta, kernels = self._kernels(z)
        sigma = self._std(kernels)
        pushed = _sum_product(rows, delta) if rows.ndim == 2 else delta
        pushed = (pushed * (-2.0 * self.lambdas * kernels)) @ self.weights.T
        return sigma, pushed * (-0.5 * sigma**3)

    def jet(self, z, v):
        # Its tangents start as the latent basis: an RBF precision reads the codes themselves.
        delta, kernels = self._kernels(z)
        sigma = self._std(kernels)
        slope = -0.5 * sigma**3
        fall = -2.0 * self.lambdas * kernels
        inner = delta * fall
        first = inner @ self.weights.T
        record = (delta, kernels, sigma, slope, first)
        if v is None:
            return first * slope, None, record
        bend = -2.0 * self.lambdas * _sum_product(v, delta)
        second = torch.addcmul(inner * bend, v.T[:, :, None], fall) @ self.weights.T
        bend = -1.5 * slope * sigma * sigma * _sum_product(v, first)
        return first * slope, torch.addcmul(second * slope, first, bend), record

    def condensed(self):
        return self

    def linearize(self, z, v):
        """Jacobian-free products: distances, kernels, their weighted sums, and the root."""
        squares = Squares(self.centers, z, v)
        kernels = self._kernels(z)[1]
        along = squares.push(torch.stack((v, torch.zeros_like(v)), dim=1))[:, 0]
        slope = -self.lambdas * kernels
        bell = Bend(slope, -self.lambdas * slope, along)
        sums, along = Affine(self.weights), (along * slope) @ self.weights.T
        sigma = torch.rsqrt(kernels @ self.weights.T + self.zeta)
        slope = -0.5 * sigma**3
        root = Bend(slope, -1.5 * slope * sigma * sigma, along)
        return ChainLinearization(along * slope, [squares, bell, sums, root])

    def height(self, z):
        """Norm of sigma and its gradient."""
        delta, kernels = self._kernels(z)
        precision = kernels @ self.weights.T + self.zeta
        variance = precision.reciprocal()
        height = variance.sum(dim=1).sqrt()
        pulled = (variance * variance / height[:, None]) @ self.weights * kernels * self.lambdas
        return height, (delta * pulled).sum(2).T

    def contract(self, covector, record, dim):
        delta, kernels, sigma, slope, rows = record
        outer = _weighted_gram(rows, covector * (-1.5 * slope * sigma * sigma))
        pulled = (covector * slope) @ self.weights * kernels * self.lambdas
        inner = _weighted_gram(delta, 4.0 * pulled * self.lambdas)
        hessian = outer + inner
        hessian.diagonal(dim1=1, dim2=2).sub_(2.0 * pulled.sum(-1)[:, None])
        return hessian


class NetworkImmersion(Immersion):
    """An immersion made of network parts whose outputs stand side by side.

    Parameters
    ----------
    parts : list
        Chains and RBF precisions, each from latent codes to some of the outputs.
    dim : int
        Dimension of the latent space.
    """

    def __init__(self, parts, dim):
        super().__init__(dim)
        self.parts = parts
        self.smooth = all(part.smooth for part in parts)

    def __call__(self, z):
        """Evaluate F; see `Immersion`."""
        return _join([part.value(z) for part in self.parts])

    def jacobian(self, z):
        """Evaluate F and its Jacobian; see `Immersion.jacobian`."""
        values, rows = zip(*(part.push(z, _basis(z)) for part in self.parts), strict=True)
        return _join(values), _points_first(rows, len(z))

    def push(self, z, v):
        """Evaluate the derivative along a direction; see `Immersion.push`."""
        return _join([part.push(z, v)[1] for part in self.parts])

    def condensed(self):
        """Find an isometric immersion with fewer outputs; see `Immersion.condensed`."""
        if "_small" in self.__dict__:
            return self._small or self
        parts = [part.condensed() for part in self.parts]
        if all(new is old for new, old in zip(parts, self.parts, strict=True)):
            self._small = None
            return self
        self._small = condensed = NetworkImmersion(parts, self.dim)
        condensed.dtype, condensed.device = self.dtype, self.device
        return condensed

    def linearize(self, z, v):
        """Prepare Jacobian-free products; see `Immersion.linearize`."""
        parts = [part.linearize(z, v) for part in self.parts]
        return parts[0] if len(parts) == 1 else JoinedLinearization(parts)

    def height(self, z):
        """Evaluate the norm of sigma and its gradient; see `Immersion.height`."""
        std = self.parts[-1]
        return std.height(z) if isinstance(std, _RBFStd) else super().height(z)

    def jet(self, z, v=None):
        """Evaluate first and second derivatives; see `Immersion.jet`."""
        jets = [part.jet(z, v) for part in self.parts]
        widths = [rows.shape[2] for rows, _, _ in jets]

        def contract(covector):
            pieces = covector.split(widths, dim=1)
            return sum(
                part.contract(piece, record, self.dim)
                for part, piece, (_, _, record) in zip(self.parts, pieces, jets, strict=True)
            )

        tangents, derivatives, _ = zip(*jets, strict=True)
        derivatives = None if v is None else _points_first(derivatives, len(z))
        return Jet(_points_first(tangents, len(z)), derivatives, contract)


def _join(parts):
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _points_first(parts, n_points):
    """Tangents of all outputs, shape=[n_points, dim, n_outputs], a view."""
    return _join([rows.expand(-1, n_points, -1) for rows in parts]).transpose(0, 1)


def compile_immersion(decoder, dim):
    """Build the fast immersion of a decoder made of known layers.

    Parameters
    ----------
    decoder : callable
        Frozen decoder.
    dim : int
        Dimension of the latent space.

    Returns
    -------
    immersion : NetworkImmersion or None
        None if any part of the decoder is not known, or carries hooks.
    """
    if type(decoder) is GaussianDecoder:
        parts = [_compile_part(decoder.mean), _compile_part(decoder.std)]
    else:
        parts = [_compile_part(decoder)]
    if any(part is None for part in parts) or _has_hooks(decoder):
        return None
    return NetworkImmersion(parts, dim)


def _has_hooks(module):
    return any(
        part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part)
        for part in module.modules()
    )


def _compile_part(module):
    if type(module) is RBFPrecision:
        return _RBFStd(module)
    layers = _compile_layers(_flatten_sequential(module))
    return None if not layers else _Chain(layers)


def _flatten_sequential(module):
    """Modules of a chain, one after the other."""
    if type(module) is not nn.Sequential:
        return [module]
    return [part for child in module for part in _flatten_sequential(child)]


def _image_shape(unflatten, layers):
    """Channels, height and width that rows are unflattened to; None if unknown or no image's."""
    shape = tuple(unflatten.unflattened_size)
    if -1 in shape:
        widths = [layer.weight.shape[0] for layer in layers if isinstance(layer, Affine)]
        rest = -math.prod(shape)
        shape = tuple(widths[-1] // rest if n == -1 else n for n in shape) if widths else ()
    return shape if len(shape) == _IMAGE_AXES else None


def _compile_layers(modules):
    """Layers of a chain, or None if one of them is unknown."""
    layers, shape = [], None  # of images; None stands for flat rows
    for module in modules:
        if type(module) is nn.Unflatten and shape is None and module.dim in (1, -1):
            shape = _image_shape(module, layers)
            if shape is None:
                return None
        elif type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
            shape = None
        elif type(module) in _ACTIVATIONS:
            layers.append(module)
        elif type(module) is not nn.Identity:
            layer, shape = linear_layer(module, shape)
            if layer is None:
                return None
            layers.append(layer)
    return layers
