"""What a caller gave, before it is sent: what is no text is named by its place, with how to put it right."""

from collections.abc import Iterable, Sequence
from typing import Any


def checked_text(text: Any, name: str) -> str:
    """The text.

    Raises:
        TypeError: It is not a string.
        ValueError: It cannot be written in UTF-8.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} is {_kind(text)}, must be a string: {_remedy(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        place = exc.start
        raise ValueError(
            f"{name} has half of a surrogate pair at character {place}: read the text as UTF-8, or replace what is "
            "broken in it: text.encode(errors='replace').decode()"
        ) from None
    return text


def checked_texts(texts: Any, name: str) -> list[str]:
    """Texts, each named by its place in errors; raises as ``checked_text`` does."""
    if isinstance(texts, bytes | bytearray | memoryview) or not isinstance(texts, Iterable):
        raise TypeError(f"{name} is {_kind(texts)}, must be a string or strings: {_remedy(texts)}")
    return [checked_text(text, f"{name}[{number}]") for number, text in enumerate(texts)]


def text_or_texts(given: str | Sequence[str], name: str) -> str | list[str]:
    """One text, or a list of them."""
    return checked_text(given, name) if isinstance(given, str) else checked_texts(given, name)


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    return "NaN" if isinstance(value, float) and value != value else f"of type {type(value).__name__}"


def _remedy(value: Any) -> str:
    if value is None or isinstance(value, float):
        return "leave it out, as dropna() does in pandas, or give a text in its place"
    if isinstance(value, bytes | bytearray | memoryview):
        return "decode it first: value.decode()"
    return "convert it with str(), if its text is what is meant"
