"""Rows into micro-batches: where to cut, and how a poisonous row fails alone. Knows nothing of threads or models."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Row = TypeVar("Row")
Result = TypeVar("Result")

_PADDING_SHARE = 0.25  # of a micro-batch that may be padding before a new one is cheaper


def cut(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Cuts rows into micro-batches of similar lengths.

    Args:
        lengths: Tokens of each row.
        max_tokens: Tokens of a micro-batch at most, padding included; a longer row goes alone.

    Returns:
        Row numbers of each micro-batch, shortest rows first.
    """
    batches: list[list[int]] = []
    num_real = 0
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        length = lengths[row]
        if batches:
            padded = length * (len(batches[-1]) + 1)
            is_wasteful = padded - (num_real + length) > _PADDING_SHARE * padded
            if padded <= max_tokens and not is_wasteful:
                batches[-1].append(row)
                num_real += length
                continue
        batches.append([row])
        num_real = length
    return batches


def run_bisecting(rows: Sequence[Row], run: Callable[[Sequence[Row]], Sequence[Result]]) -> list[Result | Exception]:
    """Runs all rows at once; where that fails, each half by itself, down to the row that is at fault.

    Args:
        rows: Of one micro-batch.
        run: One result a row, in order, or an exception for all.

    Returns:
        Each row's result, or the exception it raises alone.
    """
    try:
        return list(run(rows))
    except Exception as exc:
        if len(rows) == 1:
            return [exc]
        middle = len(rows) // 2
        return [*run_bisecting(rows[:middle], run), *run_bisecting(rows[middle:], run)]
