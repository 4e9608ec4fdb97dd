"""How long the texts of an adapter set turn out, so that the queue's order goes by what rows will take."""

from adavae.model.decoding.decoding import Decoding

_LEARNED_FROM_EACH = 0.05  # the last twenty texts or so count


class TextLengths:
    """A running mean of each slot's tokens a text; used from one thread.

    ``max_tokens`` says what a row may take, and most rows end at a quarter of it.
    """

    def __init__(self) -> None:
        self._means: dict[int, float] = {}

    def expected(self, slot: int, decoding: Decoding) -> float:
        """Tokens of a row that is to be decoded; ``max_tokens`` as long as nothing is known of its slot."""
        mean = self._means.get(slot, float(decoding.max_tokens))
        return min(float(decoding.max_tokens), max(mean, float(decoding.min_tokens)))

    def learn(self, slot: int, num_tokens: int, *, is_whole: bool) -> None:
        """A text of so many tokens has ended by itself, or was cut: then it would have had as many at least."""
        mean = self._means.get(slot)
        if not is_whole and (mean is None or num_tokens <= mean):
            return
        mean = float(num_tokens) if mean is None else mean
        self._means[slot] = mean + _LEARNED_FROM_EACH * (num_tokens - mean)

    def forget(self, slot: int) -> None:
        """Another set is in this slot."""
        self._means.pop(slot, None)
