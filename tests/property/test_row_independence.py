"""A row's encoding does not depend on its neighbours, its place, the padding, or the adapter sets beside it."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adavae.model.adavae import AdaVAE, pad
from adavae.model.parts.stacked import AdapterIndex
from tests.tiny import TINY, VARIANTS, mixed_bank, tiny_backbone

_TEXTS = st.lists(st.integers(1, TINY.vocab_size - 1), min_size=1, max_size=20)
_ROWS = st.lists(st.tuples(_TEXTS, st.integers(0, len(VARIANTS) - 1)), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(rows=_ROWS, data=st.data())
def test_row_is_unchanged_by_its_neighbours(rows: list[tuple[list[int], int]], data: st.DataObject) -> None:
    bank, _ = mixed_bank()
    vae = AdaVAE(tiny_backbone(), bank)
    chosen = data.draw(st.integers(0, len(rows) - 1))
    with torch.no_grad():
        together = vae.encode(*pad([text for text, _ in rows], 0), AdapterIndex.of([slot for _, slot in rows]))
        text, slot = rows[chosen]
        alone = vae.encode(*pad([text], 0), AdapterIndex.of([slot]))
    torch.testing.assert_close(together.mu[chosen], alone.mu[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together.logvar[chosen], alone.logvar[0], atol=1e-5, rtol=1e-5)
