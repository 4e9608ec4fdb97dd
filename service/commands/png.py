"""A drawing as PNG, by resvg, which the extra ``plot`` brings; everything but the drawing is in the SVG already."""

import importlib
from typing import Any

from adavae.model.errors import ConfigError
from adavae.service.commands.terminal import say

_SCALE = 2.0  # pixels of each of the drawing's: sharp on dense screens and in print
_WORD = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><text x="2" y="15">{}</text></svg>'


def png_library() -> Any:
    """resvg; raises ConfigError where it is not installed."""
    try:
        return importlib.import_module("resvg_py")
    except ModuleNotFoundError as exc:
        rule = "takes the package resvg-py: pip install 'adavae[plot]', or write .svg, which takes none"
        raise ConfigError("--output", ".png", rule) from exc


def png_of(svg: str) -> bytes:
    """The bytes of the PNG; letters are those of the machine's fonts, and where there are none that is said.

    Raises:
        ConfigError: The library is not installed.
    """
    resvg = png_library()
    if resvg.svg_to_bytes(svg_string=_WORD.format("word")) == resvg.svg_to_bytes(svg_string=_WORD.format("")):
        say("this machine has no fonts, so the picture has no words: install fonts-dejavu-core, or write .svg")
    drawn: bytes = resvg.svg_to_bytes(svg_string=svg, zoom=_SCALE)
    return drawn
