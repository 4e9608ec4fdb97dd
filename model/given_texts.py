"""What a program gave as texts, before anything is made of it: what is none is told with what to give in its place.

A leaf without torch, for sets in this process and for the service's client, which raise errors of their own kinds.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from adavae.model.errors import ConfigError

_MOST_NAMES = 5


def fault_of_rows(given: object) -> str | None:
    """Why ``given`` is not one value a row, in an order, and what to give instead; None where it is."""
    if isinstance(given, str):
        return "one string, must be several values: give a list"
    if isinstance(given, set | frozenset):
        return "a set, which has no order: give a list"
    if isinstance(given, Mapping):
        return _fault_of_columns("a mapping with the keys", list(given), "keys", "mapping")
    for field in ("column_names", "columns"):  # the first where ``columns`` are the values, as pyarrow has it
        if (names := getattr(given, field, None)) is not None:
            return _fault_of_columns("a table with the columns", list(names), "columns", "table")
    if isinstance(given, bytes | bytearray | memoryview) or not isinstance(given, Iterable):
        return f"must be a string or strings: {_remedy(given)}"
    return None


def fault_of_text(text: object) -> str | None:
    """Why ``text`` is no text, and what to do about it; None where it is one."""
    if not isinstance(text, str):
        return f"must be a string: {_remedy(text)}"
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        return (
            f"has half of a surrogate pair at character {exc.start}: read the text as UTF-8, or replace what is broken "
            "in it: text.encode(errors='replace').decode()"
        )
    return None


def kind_of(value: object) -> str:
    """What a value is, in a word or a few."""
    if value is None:
        return "None"
    return "NaN" if isinstance(value, float) and value != value else f"of type {type(value).__name__}"


def check_text(name: str, text: object) -> None:
    """Raises ConfigError, with the name it was given by, for what is no text."""
    if (fault := fault_of_text(text)) is not None:
        raise ConfigError(name, text, fault)


def several_texts(name: str, given: str | Iterable[str]) -> list[str]:
    """Texts that are given as one or as several.

    Raises:
        ConfigError: They are a table, a mapping or a set, or one of them is no text, which is named by its place.
    """
    if isinstance(given, str):
        check_text(name, given)
        return [given]
    if (fault := fault_of_rows(given)) is not None:
        raise ConfigError(name, type(given).__name__, fault)
    texts = list(given)
    for place, text in enumerate(texts):
        check_text(f"{name}[{place}]", text)
    return texts


def text_or_texts(name: str, given: str | Iterable[str]) -> str | list[str]:
    """One text as it is, several as a list; raises as ``several_texts`` does."""
    texts = several_texts(name, given)
    return given if isinstance(given, str) else texts


def _fault_of_columns(kind: str, names: list[Any], part: str, whole: str) -> str:
    """Of what holds texts by names."""
    if not names:
        return f"{kind.partition(' with ')[0]} without {part}: give a list of texts"
    listed = ", ".join(repr(name)[:40] for name in names[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    wanted = "text" if "text" in names else names[0]
    return f"{kind} {listed}{more}: give one column, as {whole}[{repr(wanted)[:40]}]"


def _remedy(value: object) -> str:
    if value is None or isinstance(value, float):
        return "leave it out, as dropna() does in pandas, or give a text in its place"
    if isinstance(value, bytes | bytearray | memoryview):
        return "decode it first: value.decode()"
    return "convert it with str(), if its text is what is meant"
