"""What the Tab key offers for names of adapter sets: without torch, and nothing where something is wrong."""

import re
from collections.abc import Iterator
from pathlib import Path

from adavae.model.errors import AdaVAEError
from adavae.service.settings import load_settings

_PART = re.compile(r"[a-z0-9][a-z0-9._-]*")  # a shell is told no others


def adapter_names(incomplete: str) -> list[str]:
    """Installed sets that begin so; with their versions once there is an ``@``."""
    try:
        settings = load_settings()
        found = {each for root in (settings.own_adapters, settings.bundled_adapters) for each in _references(root)}
    except (AdaVAEError, OSError):
        return []
    offered = found if "@" in incomplete else {reference.partition("@")[0] for reference in found}
    return sorted(name for name in offered if name.startswith(incomplete))


def _references(root: Path) -> Iterator[str]:
    for manifest in root.glob("*/*/manifest.json"):
        name, version = manifest.parts[-3:-1]
        if _PART.fullmatch(name) and _PART.fullmatch(version):
            yield f"{name}@{version}"
