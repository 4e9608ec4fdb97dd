"""Limits that are settings: how much one request may ask for."""

from collections.abc import Sequence

from adavae.model.decoding.decoding import Decoding
from adavae.model.latent.steering import Settled, Steering
from adavae.service.errors import InvalidRequest
from adavae.service.schemas.decoding import DecodingBody
from adavae.service.settings import Settings


def check_texts(texts: str | Sequence[object], settings: Settings, param: str = "texts") -> None:
    """Raises InvalidRequest for more texts than a request may hold."""
    if not isinstance(texts, str) and len(texts) > settings.max_texts:
        raise InvalidRequest(
            f"{param} has {len(texts)} entries, the limit is {settings.max_texts} (ADAVAE_MAX_TEXTS): send several "
            "requests",
            param=param,
            code="too_many_texts",
        )


def check_inputs(inputs: Sequence[object], settings: Settings) -> None:
    """Raises InvalidRequest for more texts than a request for embeddings may hold."""
    if len(inputs) > settings.max_embedding_texts:
        raise InvalidRequest(
            f"input has {len(inputs)} entries, the limit is {settings.max_embedding_texts} "
            "(ADAVAE_MAX_EMBEDDING_TEXTS): send several requests",
            param="input",
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


def check_rows(num_texts: int, steering: Steering, default: Settled, settings: Settings, *, tries: int = 1) -> None:
    """Raises InvalidRequest for more candidates, or more texts with all their candidates, than a request may have.

    ``tries`` are the points at which each text is looked for.
    """
    candidates = steering.or_else(default).candidates
    if candidates > settings.max_candidates:
        raise InvalidRequest(
            f"candidates is {candidates}, the limit is {settings.max_candidates} (ADAVAE_MAX_CANDIDATES): ask for "
            "fewer",
            param="candidates",
            code="too_many_candidates",
        )
    limit, setting = min((settings.max_rows, "ADAVAE_MAX_ROWS"), (settings.max_queued_rows, "ADAVAE_MAX_QUEUED_ROWS"))
    of_each, what = (candidates, "candidates") if tries == 1 else (candidates * tries, "tries")
    if num_texts * of_each > limit:
        raise InvalidRequest(
            f"{num_texts} texts of {of_each} {what} are {num_texts * of_each} rows, the limit is "
            f"{limit} ({setting}): ask for fewer {what if tries == 1 else 'texts'}, or send several requests",
            param="candidates" if candidates > 1 else None,
            code="too_many_rows",
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
