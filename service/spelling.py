"""What to tell whoever misspelt a name: the one that was probably meant, or all there are."""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches

_SHOWN_CHARACTERS = 100


def did_you_mean(name: str, known: Sequence[str], kind: str, *, as_shown: Callable[[str], str] = str) -> str:
    """``did you mean ...?``, or all ``known`` names if none is close.

    Args:
        name: What was given.
        known: What there is.
        kind: What the known names are called together, in the plural.
        as_shown: How a known name is spelt in the message.
    """
    close = get_close_matches(name, known, n=1)
    return f"did you mean {as_shown(close[0])}?" if close else f"the {kind} are {', '.join(map(as_shown, known))}"


def unknown_field(given: Iterable[object], known: Sequence[str]) -> tuple[str, str] | None:
    """The first field that is not known, shortened to be shown, and what to say of it; None if all are known."""
    unknown = next((str(name) for name in given if name not in known), None)
    if unknown is None:
        return None
    shown = unknown[:_SHOWN_CHARACTERS].encode(errors="replace").decode()
    return shown, f"unknown field: {did_you_mean(shown, known, 'fields')}"
