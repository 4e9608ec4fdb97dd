"""Two texts as one: how a pair, a premise with its hypothesis, is read and written.

The model knows one text at a time, so a pair is the first text, a separator, and the second: in training, over HTTP, on
the command line and in the library alike. It is a character that nobody types, and that a decoded pair shows.
"""

from adavae.model.cleaning import clean
from adavae.model.errors import ConfigError

SEPARATOR = "\u241e"
"""SYMBOL FOR RECORD SEPARATOR."""


def joined(first: str, second: str, names: tuple[str, str] = ("text", "text_pair")) -> str:
    """The pair as one text, both cleaned; ``names`` are those of the two in an error.

    Raises:
        ConfigError: A text holds the separator itself.
    """
    for name, text in zip(names, (first, second), strict=True):
        if SEPARATOR in text:
            raise ConfigError(name, text, f"holds {SEPARATOR!r}, which stands between the texts of a pair: remove it")
    return f"{clean(first)} {SEPARATOR} {clean(second)}"


def halves(text: str) -> tuple[str, str] | None:
    """The two texts of a pair that was joined; None if it is none."""
    first, separator, second = text.partition(SEPARATOR)
    return (first.strip(), second.strip()) if separator else None
