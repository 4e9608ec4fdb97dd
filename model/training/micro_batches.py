"""The texts of one step in micro-batches of bounded size, so that a step's memory does not grow with its texts.

Gradients add up over the micro-batches of a step, so the bound changes nothing but the order of random draws.
"""

from collections.abc import Iterable, Mapping, Sequence

_AS_LARGE_AS_ATTENTION = 512  # text length at which attention scores take as much memory as all other activations


def micro_batches(rows: Iterable[int], lengths: Sequence[int] | Mapping[int, int], max_tokens: int) -> list[list[int]]:
    """Groups of rows of similar length, the shortest first.

    Args:
        rows: Rows of the dataset.
        lengths: Tokens of every text of the dataset.
        max_tokens: Most tokens of a micro-batch, padding included; long texts count more, because attention scores
            grow with the square of the length. A longer text gets a micro-batch of its own.
    """
    groups: list[list[int]] = []
    for row in sorted(rows, key=lambda row: lengths[row]):
        if not groups or (len(groups[-1]) + 1) * _weight(lengths[row]) > max_tokens:
            groups.append([])
        groups[-1].append(row)
    return groups


def _weight(length: int) -> float:
    """Memory of one text in a batch of its length, in tokens of a short text; end-of-text is one more."""
    return (length + 1) * (1 + (length + 1) / _AS_LARGE_AS_ATTENTION)
