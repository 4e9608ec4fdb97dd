"""Where nothing is installed: the packages of this checkout under the one name that they have when they are."""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]


def make_importable() -> None:
    """``adavae.model`` and ``adavae.service`` are the checkout's, unless adavae is installed."""
    if "adavae" not in sys.modules and find_spec("adavae") is None:
        adavae = ModuleType("adavae")
        adavae.__path__ = [str(ROOT)]
        sys.modules["adavae"] = adavae
