"""What clients send in place of a text, and latents in either of their two forms."""

import struct
from base64 import b64encode
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from adavae.model.config import AdapterConfig
from adavae.service.adapters.registry import PinnedAdapter
from adavae.service.errors import InvalidRequest
from adavae.service.latent_inputs import latents_of, text_of
from tests.tiny_text import tiny_pretrained


def pinned(latent_size: int) -> PinnedAdapter:
    """As much of one as latents are checked against."""
    config = AdapterConfig(latent_size=latent_size)
    return cast(PinnedAdapter, SimpleNamespace(config=config, reference="yelp@0123456789ab"))


def packed(*numbers: float) -> str:
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def test_rows_are_numbers_or_base64_in_one_request() -> None:
    latents = latents_of([[0.5, -2, 1e-3], packed(0.5, -2, 1e-3)], pinned(3))
    assert latents.shape == (2, 3)
    np.testing.assert_array_equal(latents[0], latents[1])
    latents += 1.0  # they belong to the request


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (packed(1, 2), "has 12 characters of base64, yelp@0123456789ab takes 16: 3 numbers in little-endian float32"),
        (packed(1, 2, 3, 4), "has 24 characters"),
        ("", "has 0 characters"),
        ("A" * 5_000_000, "has 5000000 characters"),
        ("hello", "has 5 characters of base64"),
        (b64encode(b"\xff" * 12).decode().replace("/", "_"), "has '_' at character 0, which is not of the standard"),
        ("AAAA AAAAAAAAAA=", "has ' ' at character 4"),
        ("AAAAAAAA\nAAAAAAA", "has '\\n' at character 8"),
        ("\u0410" * 16, "has '\u0410' at character 0"),
        ("AAAA=AAAAAAAAAAA", "has '=' at character 4"),
        ("A" * 15 + "=", "is 11 bytes in base64, yelp@0123456789ab takes 12"),
        ("A" * 13 + "===", "is not padded as base64 is"),
        ("=" * 16, "is not padded as base64 is"),
        (packed(1, float("nan"), 2), "is nan at place 1: every number must be finite in float32"),
        (packed(1, 2, float("-inf")), "is -inf at place 2"),
        ([1.0, 2.0, 1e39], "is inf at place 2"),
        ([1.0, 2.0], "has 2 numbers, yelp@0123456789ab takes 3"),
    ],
)
def test_what_is_no_latent_is_named_with_its_row_and_the_remedy(row: Any, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        latents_of([[0.0] * 3, row], pinned(3))
    assert message in refused.value.message
    assert refused.value.message.startswith("z[1] ")
    assert (refused.value.status, refused.value.param, refused.value.code) == (422, "z[1]", "invalid_z")


def test_a_huge_string_is_refused_without_being_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(*_args: Any, **_kwargs: Any) -> bytes:
        raise AssertionError("nothing is to be decoded")

    monkeypatch.setattr("adavae.service.latent_inputs.b64decode", unwanted)
    with pytest.raises(InvalidRequest, match="characters of base64"):
        latents_of(["A" * 1_000_000], pinned(3))


def test_token_ids_are_their_text() -> None:
    pretrained = tiny_pretrained()
    ids = pretrained.tokenizer.encode("the food was good")
    assert text_of(ids, "input", pretrained, len(ids)) == text_of("the food was good", "input", pretrained, 0)


def test_ids_that_the_tokenizer_would_not_write_are_anothers() -> None:
    """Regression: they were encoded as whatever they spell here."""
    pretrained = tiny_pretrained()
    ids = pretrained.tokenizer.encode("the food was good")
    spelt = [token for letter in "the food was good" for token in pretrained.tokenizer.encode(letter)]
    assert pretrained.tokenizer.decode(spelt) == "the food was good" and spelt != ids
    with pytest.raises(InvalidRequest, match=r"another tokenizer's: send the text itself \(LangChain"):
        text_of(spelt, "input", pretrained, len(spelt))
    ended = [*ids, pretrained.tokenizer.eos_token_id]
    assert text_of(ended, "input", pretrained, len(ended)) == "the food was good"


def test_more_ids_than_a_text_may_have_are_refused_unread() -> None:
    """Millions of them were looked at and decoded first, while everybody else waited."""
    with pytest.raises(InvalidRequest, match=r"input\[3\] has 5 token ids, the limit is 4 \(ADAVAE_MAX_TEXT_TOKENS"):
        text_of([-1] * 5, "input[3]", tiny_pretrained(), 4)
    with pytest.raises(InvalidRequest, match="token id -1"):
        text_of([-1] * 4, "input[3]", tiny_pretrained(), 4)
