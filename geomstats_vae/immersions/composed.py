"""Temporary."""

from geomstats_vae.immersions.immersion import Immersion, Jet


class ScaledImmersion(Immersion):
    """Temporary stand-in."""

    def __init__(self, immersion, factor):
        super().__init__(immersion.dim)
        self._f, self._c = immersion, factor
        self.n_mean, self.dtype, self.device = immersion.n_mean, immersion.dtype, immersion.device

    def __call__(self, z):
        """."""
        return self._c * self._f(z)

    def jacobian(self, z):
        """."""
        a, b = self._f.jacobian(z)
        return self._c * a, self._c * b

    def push(self, z, v):
        """."""
        return self._c * self._f.push(z, v)

    def jet(self, z, v=None):
        """."""
        jet = self._f.jet(z, v)
        return Jet(
            self._c * jet.tangents,
            None if v is None else self._c * jet.derivatives,
            lambda q: jet.hessian(self._c * q),
        )

    def height(self, z):
        """."""
        a, b = self._f.height(z)
        return self._c * a, self._c * b

    def condensed(self):
        """."""
        return ScaledImmersion(self._f.condensed(), self._c)
