"""The steps that plans are made of.

A plan is a generator: it yields a step, is sent the step's result, and finally returns the operation's. It does not
know whether a step is computed at once (``text_model``) or waits its turn among other requests
(``service.plan_runner``), so both give the same result.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from adavae.model.decoding.decoding import Decoding
from adavae.model.results import DecodedText

ROWS_AT_ONCE = 384
"""Drafts that are written, and read again, side by side, however many there are to be."""

COMPUTED_AT_ONCE = 64
"""Latents that are led back to where texts lie in one ``Compute``, however many there are."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Encode:
    """mu of each text, (N, Z), float32.

    Attributes:
        texts: The user's texts.
        params: The name of each in an error message.
    """

    texts: Sequence[str]
    params: Sequence[str]


@dataclass(frozen=True, slots=True)
class EncodeWritten:
    """mu, (N, Z), float32, of texts that the model wrote: none empty, truncated if too long, and never cached."""

    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Decode:
    """A text for each z, (N, Z), one decoding a row."""

    z: Tensor
    decodings: Sequence[Decoding]


@dataclass(frozen=True, slots=True)
class Score:
    """Nats per token of each text by the bare backbone, (N,), float32; no text may be empty."""

    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Compute:
    """A computation of some milliseconds, run where it blocks no other request."""

    run: Callable[[], Any]


Step = Encode | EncodeWritten | Decode | Score | Compute
Plan = Generator[Step, Any, Result]


def encoded(texts: Sequence[str], params: Sequence[str]) -> Plan[Tensor]:
    mu: Tensor = yield Encode(texts, params)
    return mu


def encoded_written(texts: Sequence[str]) -> Plan[Tensor]:
    mu: Tensor = yield EncodeWritten(texts)
    return mu


def decoded(z: Tensor, decodings: Sequence[Decoding]) -> Plan[list[DecodedText]]:
    rows: list[DecodedText] = yield Decode(z, decodings)
    return rows


def decoded_in_parts(z: Tensor, decodings: Sequence[Decoding]) -> Plan[list[DecodedText]]:
    """As ``decoded``, ``ROWS_AT_ONCE`` at a time: others come between, and the queue never holds more of them."""
    rows: list[DecodedText] = []
    for start in range(0, len(z), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        rows += yield from decoded(z[part], decodings[part])
    return rows


def encoded_written_in_parts(texts: Sequence[str]) -> Plan[Tensor]:
    """As ``encoded_written``, ``ROWS_AT_ONCE`` at a time; at least one text."""
    mu: list[Tensor] = []
    for start in range(0, len(texts), ROWS_AT_ONCE):
        mu.append((yield from encoded_written(texts[start : start + ROWS_AT_ONCE])))
    return torch.cat(mu)


def scored(texts: Sequence[str]) -> Plan[Tensor]:
    nats: Tensor = yield Score(texts)
    return nats


def computed(run: Callable[[], Result]) -> Plan[Result]:
    result: Result = yield Compute(run)
    return result
