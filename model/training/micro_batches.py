"""The texts of one step in micro-batches of bounded size: what a step keeps in memory does not grow with its texts.

Gradients add up over the micro-batches of a step, so that the bound changes no result but the order of random draws.
"""

from collections.abc import Iterable, Mapping, Sequence

_AS_LARGE_AS_ATTENTION = 512  # tokens at which a token's attention scores take the memory of its other activations


def micro_batches(rows: Iterable[int], lengths: Sequence[int] | Mapping[int, int], max_tokens: int) -> list[list[int]]:
    """Groups of rows of similar length, the shortest first.

    Args:
        rows: Of the data set.
        lengths: Tokens of every text of the data set.
        max_tokens: Tokens that a micro-batch may have, padding included; long texts count more, because their
            attention scores grow with the square of their length. A text that is longer stands alone.
    """
    groups: list[list[int]] = []
    for row in sorted(rows, key=lambda row: lengths[row]):
        if not groups or (len(groups[-1]) + 1) * _weight(lengths[row]) > max_tokens:
            groups.append([])
        groups[-1].append(row)
    return groups


def _weight(length: int) -> float:
    """Memory of one text beside texts of its length, in tokens of a short text; the end of text is one more."""
    return (length + 1) * (1 + (length + 1) / _AS_LARGE_AS_ATTENTION)
