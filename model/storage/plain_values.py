"""Whether values from a JSON file are harmless: whoever reads them can compare them, write them and send them on."""

import math
import re
from datetime import UTC, datetime

from adavae.model.errors import ConfigError

MAX_DEPTH = 32
_WHOLE_NUMBERS = 2**63  # what other programs than Python can read
_DIGEST = re.compile(r"[0-9a-f]{1,128}")


def check_plain(field: str, value: object) -> None:
    """Raises ConfigError for what JSON can spell and other programs cannot take: see ``_problem_of``."""
    pending: list[tuple[object, int]] = [(value, 0)]
    while pending:
        inner, depth = pending.pop()
        if (problem := _problem_of(inner, depth)) is not None:
            raise ConfigError(field, inner, problem)
        if isinstance(inner, dict):
            pending += [(each, depth + 1) for pair in inner.items() for each in pair]
        elif isinstance(inner, list):
            pending += [(each, depth + 1) for each in inner]


def check_digest(field: str, value: object) -> None:
    """Raises ConfigError for what is no digest in lower-case hexadecimal digits."""
    if not (isinstance(value, str) and _DIGEST.fullmatch(value)):
        raise ConfigError(field, value, "must be a digest, 1 to 128 characters of 0-9 and a-f")


def checked_whole(field: str, value: object, largest: int) -> int:
    """``value``, where it is a whole number from 0 to ``largest``; raises ConfigError otherwise."""
    if not (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest):
        raise ConfigError(field, value, f"must be a whole number from 0 to {largest:,}")
    return value


def checked_number(field: str, value: object, largest: float) -> float:
    """``value``, where it is a number of at most that size; raises ConfigError otherwise."""
    if not (isinstance(value, int | float) and not isinstance(value, bool) and -largest <= value <= largest):
        raise ConfigError(field, value, f"must be a number from {-largest:g} to {largest:g}")
    return float(value)


def checked_time(field: str, value: str) -> datetime:
    """A moment in ISO 8601, in UTC where it names no zone; raises ConfigError for anything else."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as exc:
        raise ConfigError(field, value, "must be a date and a time in ISO 8601") from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def has_surrogate(text: str) -> bool:
    """Whether it holds half a pair of UTF-16, which JSON can spell and UTF-8 cannot."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _problem_of(value: object, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"must not be nested deeper than {MAX_DEPTH}"
    if isinstance(value, str) and has_surrogate(value):
        return "must be text that UTF-8 can hold"
    if isinstance(value, int) and not -_WHOLE_NUMBERS <= value < _WHOLE_NUMBERS:
        return "must fit into 64 bits"
    if isinstance(value, float) and math.isinf(value):
        return "must be finite"
    return None
