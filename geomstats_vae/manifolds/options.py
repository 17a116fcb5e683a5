"""Options of solvers as plain data: what differs from the defaults, field by field."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any


def differences(options: Any, default: Any) -> Any:
    """Describe options by what differs from the defaults.

    Parameters
    ----------
    options : dataclass
        Options.
    default : dataclass
        Those that are not described.

    Returns
    -------
    differences : dict or None
        Numbers, strings and None by the name of the field, dicts of these for options of parts.
        None if the options are of another class, or some of them are no plain values.
    """
    if type(options) is not type(default):
        return None
    found: dict[str, Any] = {}
    for column in fields(default):
        value, usual = getattr(options, column.name), getattr(default, column.name)
        if is_dataclass(usual):
            value = differences(value, usual)
            if value is None:
                return None
            if value:
                found[column.name] = value
        elif value != usual:
            if not isinstance(value, (bool, int, float, str, type(None))):
                return None
            found[column.name] = value
    return found


def restore(differences: dict[str, Any], default: Any) -> Any:
    """Build options from what differs from the defaults.

    Parameters
    ----------
    differences : dict
        As of `differences`.
    default : dataclass
        All else.

    Returns
    -------
    options : dataclass
        The options.
    """
    new = {
        name: restore(value, getattr(default, name)) if isinstance(value, dict) else value
        for name, value in differences.items()
    }
    return replace(default, **new)
