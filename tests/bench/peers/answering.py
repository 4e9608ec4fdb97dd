"""A peer's side of the contest: it does pieces of work when it is asked to, and says how long each took.

Needs nothing but Python, as it runs in every peer's environment.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

NUM_TOKENS = 24  # tokens of a decoded text
NUM_ROWS = (1, 11, 32)  # decoded at once
ROWS_A_BATCH = 32  # texts encoded at once, by peers that pad


def asked() -> tuple[Path, int, str]:
    """Folder of the model, number of threads, and which variant of the peer: the script's arguments."""
    folder, threads, variant = sys.argv[1:4]
    return Path(folder), int(threads), variant


def batches(folder: Path) -> list[list[list[int]]]:
    """The texts as token ids, those of similar length together, so that little is padded."""
    rows = sorted(json.loads((folder / "texts.json").read_text(encoding="utf-8")), key=len)
    return [rows[first : first + ROWS_A_BATCH] for first in range(0, len(rows), ROWS_A_BATCH)]


def padded(rows: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids, padded on the right, and 1 where a token is real."""
    width = max(map(len, rows))
    return [[*row, *[0] * (width - len(row))] for row in rows], [
        [1] * len(row) + [0] * (width - len(row)) for row in rows
    ]


def sentences(folder: Path) -> list[str]:
    found: list[str] = json.loads((folder / "sentences.json").read_text(encoding="utf-8"))
    return found


def answer(ways: Mapping[str, Callable[[], int]], told: Mapping[str, Any] | None = None) -> None:
    """Answers until there are no more questions. A way returns how much it did, in tokens or texts.

    ``told`` is said at the beginning, such as what a way's first result was.
    """
    replies = os.fdopen(os.dup(1), "w")  # what libraries print must not come between
    os.dup2(2, 1)
    replies.write(json.dumps({"ways": list(ways), **(told or {})}) + "\n")
    replies.flush()
    for line in sys.stdin:
        way = ways[json.loads(line)]
        started = time.perf_counter()
        done = way()
        replies.write(json.dumps([done, time.perf_counter() - started]) + "\n")
        replies.flush()
