"""Limits that are settings: how much one request may ask for."""

from collections.abc import Sequence

from adavae.model.decoding.decoding import Decoding
from adavae.service.errors import InvalidRequest
from adavae.service.schemas.decoding import DecodingBody
from adavae.service.settings import Settings


def check_texts(texts: Sequence[str], settings: Settings) -> None:
    """Raises InvalidRequest for more texts than a request may hold."""
    if len(texts) > settings.max_texts:
        raise InvalidRequest(
            f"texts has {len(texts)} entries, the limit is {settings.max_texts} (ADAVAE_MAX_TEXTS): send several "
            "requests",
            param="texts",
            code="too_many_texts",
        )


def check_samples(param: str, number: int, settings: Settings) -> None:
    """Raises InvalidRequest for more texts than one request may ask for."""
    if number > settings.max_samples:
        raise InvalidRequest(
            f"{param} asks for {_short(number)} texts, the limit is {settings.max_samples} (ADAVAE_MAX_SAMPLES): send "
            "several requests",
            param=param,
            code="too_many_samples",
        )


def check_steps(steps: int, settings: Settings) -> None:
    """Raises InvalidRequest for more sentences than an interpolation may have."""
    if steps > settings.max_steps:
        raise InvalidRequest(
            f"steps is {_short(steps)}, the limit is {settings.max_steps} (ADAVAE_MAX_STEPS): ask for fewer",
            param="steps",
            code="too_many_steps",
        )


def checked_decoding(body: DecodingBody, settings: Settings) -> Decoding:
    """The model's decoding; raises InvalidRequest where it asks for longer texts than allowed."""
    if body.max_tokens is not None and body.max_tokens > settings.max_tokens:
        raise InvalidRequest(
            f"max_tokens is {body.max_tokens}, the limit is {settings.max_tokens} (ADAVAE_MAX_TOKENS): ask for fewer",
            param="decoding.max_tokens",
            code="too_many_tokens",
        )
    return body.to_decoding(settings.max_tokens)


def _short(number: int) -> str:
    """A number of a size that a person reads; Python refuses to write some of thousands of digits."""
    return str(number) if number < 10**18 else "more than 10^18"
