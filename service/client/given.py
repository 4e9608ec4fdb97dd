"""What a caller gave, before it is sent: what is no text is named by its place, with how to put it right."""

from collections.abc import Sequence
from typing import Any

from adavae.model.given_texts import fault_of_rows, fault_of_text, kind_of


def checked_text(text: Any, name: str) -> str:
    """The text.

    Raises:
        TypeError: It is not a string.
        ValueError: It cannot be written in UTF-8.
    """
    fault = fault_of_text(text)
    if isinstance(text, str):
        if fault is not None:
            raise ValueError(f"{name} {fault}")
        return text
    raise TypeError(f"{name} is {kind_of(text)}, {fault}")


def checked_texts(texts: Any, name: str) -> list[str]:
    """Texts, each named by its place in errors.

    Raises:
        TypeError: They are a table, a mapping or a set, or one of them is not a string.
        ValueError: One of them cannot be written in UTF-8.
    """
    if (fault := fault_of_rows(texts)) is not None:
        raise TypeError(f"{name} is {kind_of(texts)}, {fault}")
    return [checked_text(text, f"{name}[{number}]") for number, text in enumerate(texts)]


def text_or_texts(given: str | Sequence[str], name: str) -> str | list[str]:
    """One text, or a list of them."""
    return checked_text(given, name) if isinstance(given, str) else checked_texts(given, name)
