"""Which names adapter sets may have. A leaf without torch."""

import re

from adavae.model.errors import ConfigError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_name(name: str) -> str:
    """Returns ``name`` if an adapter set may have it; raises ConfigError otherwise."""
    if not _NAME.fullmatch(name):
        raise ConfigError("name", name, "must be 1 to 64 of a-z, 0-9, '.', '_', '-', and begin with a letter or digit")
    return name
