"""Latents as base64: what is sent arrives bit for bit, and of other strings each is refused, none is a fault."""

from base64 import b64decode, b64encode
from types import SimpleNamespace
from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adavae.model.config import AdapterConfig
from adavae.service.adapters.registry import PinnedAdapter
from adavae.service.errors import InvalidRequest
from adavae.service.latent_inputs import latents_of

_FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
_ALPHABET = "AQgw/+9z=-_ \n\u0410\ud800"


def _pinned(latent_size: int) -> PinnedAdapter:
    config = AdapterConfig(latent_size=latent_size)
    return cast(PinnedAdapter, SimpleNamespace(config=config, reference="yelp@0123456789ab"))


@given(row=st.lists(_FLOATS, min_size=1, max_size=40))
def test_a_latent_arrives_bit_for_bit(row: list[float]) -> None:
    sent = np.array(row, "<f4")
    latents = latents_of([b64encode(sent.tobytes()).decode(), row], _pinned(len(row)))
    assert latents.numpy()[0].tobytes() == sent.tobytes()
    np.testing.assert_array_equal(latents[0], latents[1])


@given(
    text=st.one_of(
        st.text(_ALPHABET, max_size=24), st.binary(max_size=18).map(lambda content: b64encode(content).decode())
    ),
    latent_size=st.integers(1, 4),
)
def test_a_string_is_a_latent_or_refused(text: str, latent_size: int) -> None:
    try:
        latents = latents_of([text], _pinned(latent_size))
    except InvalidRequest as refusal:
        assert refusal.param == "z[0]" and refusal.message.startswith("z[0] ")
        return
    assert latents.numpy().tobytes() == b64decode(text, validate=True)
    assert np.isfinite(latents.numpy()).all()
