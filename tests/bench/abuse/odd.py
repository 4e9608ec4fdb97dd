"""Values and texts that nobody expects, drawn by chance."""

import math
import random
from typing import Any

PIECES = (
    *("1!", " ", "a ", "()", "\n", "\t", "\x00", "\x7f", "\ufeff", "<|endoftext|>", '{"', "\\u", "'", "A"),
    *("e\u0301", "\u0301", "\u200d", "\u202e", "\u2028", "\U0001f600", "\U0001f468\u200d\U0001f469", "\ufdfa"),
    *("\ud55c", "\u0e33", "\U0001d518", "\U000e0041", "\ufffe", "\U0010ffff", "\u00df", "\u0130"),
)
"""What texts are made of by repetition: what tokenizers, normalisers and terminals stumble over."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 0.5, -0.0, 1e308, -1e308, 5e-324),
    *(math.nan, math.inf, -math.inf, "", " ", "x", "0", "NaN", "true", "null", "\ud800", "\udfff\ud800", "\x00"),
    *("../../etc/passwd", "x" * 10_000, "\u0301" * 500, "%00", "prefixed@", "@", "prefixed@" + "0" * 12, "${HOME}"),
    *([], [[]], [None], ["x"] * 500, [0.0] * 5000, [[0.0]] * 300, {}, {"": None}, {"x": {"y": [10**30]}}),
    *([math.nan] * 4, [[1e308] * 4], [["a"]], {"__proto__": 1}, {"from": [], "to": []}, {"dimension": -1}),
)


def text(draw: random.Random, most: int) -> str:
    """A text of up to ``most`` characters, short ones as often as long ones."""
    size = max(1, int(math.exp(draw.uniform(0.0, math.log(most)))))
    match draw.randrange(5):
        case 0 | 1 | 2:
            piece = draw.choice(PIECES)
            return (piece * (1 + size // len(piece)))[:size]
        case 3:
            block = "".join(draw.choice(PIECES) for _ in range(20))
            return (block * (1 + size // len(block)))[:size]
        case _:
            block = "".join(_character(draw) for _ in range(min(size, 500)))
            return (block * (1 + size // len(block)))[:size]


def _character(draw: random.Random) -> str:
    code = draw.choice((draw.randrange(0x80), draw.randrange(0xD800), draw.randrange(0xE000, 0x110000)))
    return chr(code)


def nested(draw: random.Random) -> str:
    """JSON so deep that readers which call themselves give up."""
    depth = draw.choice((50, 900, 3000, 100_000))
    opening, closing = draw.choice((("[", "]"), ('{"a":', "}")))
    return opening * depth + draw.choice(("", "1" + closing * depth))


def shown(value: object) -> str:
    """Of any length, for the name of a try."""
    told = ascii(value)
    return told if len(told) <= 60 else f"{told[:50]}... ({len(told)} characters)"
