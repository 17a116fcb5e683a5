"""Temporary."""
import enum
class RayStatus(enum.IntEnum):
    """."""
    FOLLOWED = 0
    LOST = 1
def isotropic_moments(*a): raise RuntimeError
def medoid(g): raise RuntimeError
