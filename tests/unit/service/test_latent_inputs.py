"""What clients send in place of a text."""

import pytest

from adavae.service.errors import InvalidRequest
from adavae.service.latent_inputs import text_of
from tests.tiny_text import tiny_pretrained


def test_token_ids_are_their_text() -> None:
    pretrained = tiny_pretrained()
    ids = pretrained.tokenizer.encode("the food was good")
    assert text_of(ids, "input", pretrained, len(ids)) == text_of("the food was good", "input", pretrained, 0)


def test_more_ids_than_a_text_may_have_are_refused_unread() -> None:
    """Millions of them were looked at and decoded first, while everybody else waited."""
    with pytest.raises(InvalidRequest, match=r"input\[3\] has 5 token ids, the limit is 4 \(ADAVAE_MAX_TEXT_TOKENS"):
        text_of([-1] * 5, "input[3]", tiny_pretrained(), 4)
    with pytest.raises(InvalidRequest, match="token id -1"):
        text_of([-1] * 4, "input[3]", tiny_pretrained(), 4)
