"""What to tell whoever misspelt a name: the one that was probably meant, or all there are."""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches

_LONGEST_NAME = 100  # longer ones are neither compared nor shown whole


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant; None where none comes close."""
    if len(name) > _LONGEST_NAME:
        return None
    return next(iter(get_close_matches(name, list(known), n=1)), None)


def did_you_mean(name: str, known: Sequence[str], kind: str, *, as_shown: Callable[[str], str] = str) -> str:
    """``did you mean ...?``, or all ``known`` names if none is close.

    Args:
        name: What was given.
        known: What there is.
        kind: What the known names are called together, in the plural.
        as_shown: How a known name is spelt in the message.
    """
    meant = closest(name, known)
    return f"the {kind} are {', '.join(map(as_shown, known))}" if meant is None else f"did you mean {as_shown(meant)}?"


def unknown_field(given: Iterable[object], known: Sequence[str]) -> tuple[str, str] | None:
    """The first field that is not known, shortened to be shown, and what to say of it; None if all are known."""
    unknown = next((str(name) for name in given if name not in known), None)
    if unknown is None:
        return None
    shortened = unknown[:_LONGEST_NAME].encode(errors="replace").decode()
    return shortened, f"unknown field: {did_you_mean(shortened, known, 'fields')}"
