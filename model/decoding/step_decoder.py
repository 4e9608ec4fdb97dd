"""What decoding needs of a model, and what it returns for a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from torch import Tensor

from adavae.model.errors import LogitsNotFinite
from adavae.model.parts.stacked import AdapterIndex

FinishReason = Literal["stop", "length"]


CacheType = TypeVar("CacheType", bound="Cache")


class Cache(Protocol):
    """What generation needs of a KV cache."""

    def select(self: CacheType, rows: Tensor) -> CacheType:
        """A cache of some rows, which may be repeated or left out."""
        ...


class StepDecoder(Protocol[CacheType]):
    """What generation needs of a model; ``AdaVAE`` is one."""

    @property
    def eos_token_id(self) -> int: ...

    def prefill(self, z: Tensor, index: AdapterIndex, max_tokens: int) -> tuple[Tensor, CacheType]:
        """First logits, (B, V), and a cache with room for ``max_tokens`` tokens."""
        ...

    def decode_step(self, token_ids: Tensor, kv_cache: CacheType, index: AdapterIndex) -> Tensor:
        """Next logits, (B, V)."""
        ...


@dataclass(frozen=True, slots=True)
class Generated:
    """One decoded row.

    Attributes:
        token_ids: Without end-of-text.
        finish_reason: ``stop`` where the model ended the text, ``length`` where ``max_tokens`` did.
    """

    token_ids: tuple[int, ...]
    finish_reason: FinishReason


def check_finite(logits: Tensor, numbers: Sequence[int]) -> None:
    """Raises LogitsNotFinite where a row has a NaN or +inf, or nothing but -inf."""
    is_finite = logits.amax(-1).isfinite().tolist()
    broken = {number for number, is_fine in zip(numbers, is_finite, strict=True) if not is_fine}
    if broken:
        raise LogitsNotFinite(tuple(sorted(broken)))
