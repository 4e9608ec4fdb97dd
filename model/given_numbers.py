"""What a program gave as a number: numpy's kinds are taken as Python's own, which JSON and torch know. A leaf."""

import operator
from numbers import Real
from typing import SupportsIndex

from adavae.model.errors import ConfigError


def whole(field: str, value: object) -> int:
    """A whole number, of whatever kind, as an ``int``; raises ConfigError for anything else, 2.0 and True included."""
    if type(value) is int:
        return value
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:  # an array of several
            pass
    raise ConfigError(field, value, "must be a whole number")


def number(field: str, value: object) -> int | float:
    """A number, of whatever kind, as an ``int`` or ``float``; raises ConfigError for anything else, True included."""
    if type(value) is int or type(value) is float:
        return value
    if not isinstance(value, bool) and isinstance(value, Real):
        return operator.index(value) if isinstance(value, SupportsIndex) else float(value)
    raise ConfigError(field, value, "must be a number")
