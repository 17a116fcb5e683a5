"""A stand-in for a progress bar."""


class Counter:
    """Counts the pairs that a geometry has worked on."""

    def __init__(self):
        self.n = 0

    def update(self, n):
        self.n += n
