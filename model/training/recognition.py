"""Whether what is written from a text's z is about that text at all: a model that ignores z writes well, too."""

from collections import Counter
from collections.abc import Sequence

_LETTERS = 3  # of a piece by which texts are compared: words would leave out languages without spaces
_DISTANCES = (1, 2, 3, 5, 8, 13, 21, 34)  # to the others that a text is compared with, in both directions


def recognised(outputs: Sequence[str], texts: Sequence[str]) -> float | None:
    """How often a reconstruction is nearer to its own text than to another one, a tie counting half.

    Without looking at the texts this comes out as 1/2: exactly so where one sentence is written for all of them. It is
    the area under the ROC curve of likeness, own text against others.

    Args:
        outputs: One for each text.
        texts: Of which each is compared with up to 16 others that differ from it.

    Returns:
        0 to 1; None where all texts are the same.
    """
    num, wins, compared = len(texts), 0.0, 0
    pieces, written = [_pieces(text) for text in texts], [_pieces(output) for output in outputs]
    for row in range(num):
        own = _likeness(written[row], pieces[row])
        others = {(row + way * distance) % num for distance in _DISTANCES if distance < num for way in (1, -1)}
        for other in others:
            if pieces[other] != pieces[row]:
                away = _likeness(written[row], pieces[other])
                wins += 0.5 if own == away else float(own > away)
                compared += 1
    return wins / compared if compared else None


def _pieces(text: str) -> Counter[str]:
    """Every run of three letters, with how often it occurs."""
    padded = f" {' '.join(text.split())} "
    return Counter(padded[start : start + _LETTERS] for start in range(len(padded) - _LETTERS + 1))


def _likeness(one: Counter[str], other: Counter[str]) -> float:
    """F1 of the pieces that both have."""
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0
