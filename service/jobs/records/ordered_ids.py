"""Ids that sort as things were made, whatever is done to the clock."""

import secrets
import time

_DIGITS = 13


def next_id(prefix: str, newest: str | None) -> str:
    """13 digits of microseconds since 1970, then 11 of chance; always after ``newest``, an id of the same kind."""
    now_us = time.time_ns() // 1000
    if newest is not None:
        now_us = max(now_us, int(newest.removeprefix(prefix)[:_DIGITS], 16) + 1)
    return f"{prefix}{min(now_us, 16**_DIGITS - 1):0{_DIGITS}x}{secrets.token_hex(6)[1:]}"
