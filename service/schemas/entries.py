"""How many entries the lists and objects of a request may have at all, counted before any of them is looked at.

A body is checked on the event loop, where a million entries would keep everybody waiting, and a million wrong ones
longer still. How many each request may have is a setting (``routes.limits``), none of them beyond ``MOST_ENTRIES``.
"""

from collections.abc import Iterator

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

MOST_NUMBERS = 4096
"""Of one z: the largest there is."""


def at_most(limit: int) -> Iterator[object]:
    """What a list or an object of at most ``limit`` entries is annotated with, behind all else that is said of it."""

    def check(given: object) -> object:
        if isinstance(given, list | dict) and len(given) > limit:
            raise PydanticCustomError(
                "too_many_entries",
                "has {number} entries, the limit is {limit}: send fewer",
                {"number": len(given), "limit": limit},
            )
        return given

    yield Field(max_length=limit)
    yield BeforeValidator(check)
