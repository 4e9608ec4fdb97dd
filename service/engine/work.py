"""What the device thread is given to do, and in what sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adavae.service.engine.decode_batch import DecodeRow
from adavae.service.engine.ticket import Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """Sizes of the engine.

    Attributes:
        encode_batch_tokens: Of one micro-batch, padding included.
        decode_rows: Decoded side by side.
        max_tokens: Of a decoded text, at most.
        max_queued_rows: Of one client that may wait.
        threads: CPU threads that share an operation; None for as many as torch takes.
    """

    encode_batch_tokens: int = 4096
    decode_rows: int = 64
    max_tokens: int = 128
    max_queued_rows: int = 2048
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """Posterior of one row, each (Z,), float32."""

    mu: NDArray[np.float32]
    logvar: NDArray[np.float32]


@dataclass(eq=False, slots=True)
class EncodeRow:
    """One text to be encoded."""

    ticket: Ticket[EncodedRow]
    number: int
    token_ids: Sequence[int]
    slot: int
    since: float = field(default_factory=monotonic)


@dataclass(eq=False, slots=True)
class Call:
    """Something else to be done for a request on the device thread, in its client's turn.

    Attributes:
        num_rows: It is about: what its client is charged.
    """

    ticket: Ticket[Any]
    run: Callable[[], Any]
    num_rows: int = 1


@dataclass(eq=False, slots=True)
class HouseCall:
    """Something to be done for nobody's request, but for the engine itself: between two steps, in the order they come.

    Attributes:
        needs_empty_decode: It waits until no row is being decoded; none is admitted meanwhile.
    """

    ticket: Ticket[Any]
    run: Callable[[], Any]
    needs_empty_decode: bool = False


RequestWork = EncodeRow | DecodeRow | Call
Work = RequestWork | HouseCall
Done = tuple[Ticket[Any], int, Any]
