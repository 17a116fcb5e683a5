"""The geometry that an immersion induces, on arrays: all that can be measured."""

__all__: list[str] = []
