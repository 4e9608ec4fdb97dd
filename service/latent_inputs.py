"""What clients send in place of texts, checked against the adapter set and the backbone it is for."""

import re
from base64 import b64decode
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.service.adapters.registry import PinnedAdapter
from adavae.service.encodings.text_tokens import INLINE_CHARACTERS, TextTokens
from adavae.service.errors import InvalidRequest
from adavae.service.latent_protocol import LatentVector

_NO_BASE64 = re.compile(r"[^A-Za-z0-9+/]")
_FLOAT_BYTES = 4
_CHARACTERS_PER_ID = 4  # that it usually stands for
_REMEDY = "send the text itself (LangChain: check_embedding_ctx_length=False)"


def latents_of(z: Sequence[LatentVector], pinned: PinnedAdapter) -> Tensor:
    """(N, Z), float32; raises InvalidRequest for another size or numbers that float32 does not hold."""
    latents = np.empty((len(z), pinned.config.latent_size), np.float32)
    with np.errstate(over="ignore"):
        for number, row in enumerate(z):
            param = f"z[{number}]"
            latents[number] = _unpacked(row, param, pinned) if isinstance(row, str) else _counted(row, param, pinned)
    is_finite = np.isfinite(latents)
    if not is_finite.all():
        number, place = np.argwhere(~is_finite)[0]
        value = latents[number, place]
        raise _invalid(f"z[{number}]", f"is {value} at place {place}: every number must be finite in float32")
    return torch.from_numpy(latents)


def _counted(row: Sequence[float], param: str, pinned: PinnedAdapter) -> Sequence[float]:
    if len(row) != (Z := pinned.config.latent_size):
        raise _invalid(param, f"has {len(row)} numbers, {pinned.reference} takes {Z}")
    return row


def _unpacked(row: str, param: str, pinned: PinnedAdapter) -> NDArray[np.float32]:
    """(Z,), from base64 that is no longer than Z numbers are."""
    num_bytes = _FLOAT_BYTES * pinned.config.latent_size
    num_characters = 4 * -(-num_bytes // 3)
    if len(row) != num_characters:
        raise _invalid(
            param,
            f"has {len(row)} characters of base64, {pinned.reference} takes {num_characters}: "
            f"{pinned.config.latent_size} numbers in little-endian float32, padded with =",
        )
    try:
        content = b64decode(row, validate=True)
    except ValueError:
        raise _invalid(param, _why_no_base64(row)) from None
    if len(content) != num_bytes:
        raise _invalid(param, f"is {len(content)} bytes in base64, {pinned.reference} takes {num_bytes}")
    numbers: NDArray[np.float32] = np.frombuffer(content, "<f4")
    return numbers


def _why_no_base64(row: str) -> str:
    remedy = "send letters, digits, + and / alone, padded with ="
    if (wrong := _NO_BASE64.search(row.rstrip("="))) is not None:
        return f"has {wrong[0]!r} at character {wrong.start()}, which is not of the standard base64 alphabet: {remedy}"
    return f"is not padded as base64 is: {remedy}"


def _invalid(param: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{param} {message}", param=param, code="invalid_z")


async def texts_of(
    inputs: Sequence[str | Sequence[int]],
    params: Sequence[str],
    pretrained: PretrainedBackbone,
    most_ids: int,
    tokens: TextTokens,
) -> list[str]:
    """``text_of`` each; many token ids are read outside of the event loop, in turns with the texts of others.

    Raises:
        InvalidRequest: As ``text_of``, of the first that it refuses.
        Overloaded: Too much waits for the tokenizer.
    """

    def read(turn: Sequence[tuple[str | Sequence[int], str]]) -> list[str]:
        return [text_of(given, param, pretrained, most_ids) for given, param in turn]

    named = list(zip(inputs, params, strict=True))
    nums = [0 if isinstance(given, str) else min(len(given), most_ids) for given in inputs]
    if sum(nums) * pretrained.tokenizer.longest_token <= INLINE_CHARACTERS:
        return read(named)
    texts: list[str] = []
    await tokens.in_turns(read, named, [num * _CHARACTERS_PER_ID for num in nums], texts.extend)
    return texts


def text_of(given: str | Sequence[int], param: str, pretrained: PretrainedBackbone, most_ids: int) -> str:
    """A text, or what token ids say; ``param`` is what it is called in errors.

    Raises:
        InvalidRequest: The backbone's tokenizer does not have these ids, or writes the text by others, or there are
            more than ``most_ids``.
    """
    if isinstance(given, str):
        return given
    if len(given) > most_ids:  # before they are looked at
        raise InvalidRequest(
            f"{param} has {len(given)} token ids, the limit is {most_ids} (ADAVAE_MAX_TEXT_TOKENS, and the "
            "backbone's context): send a shorter text",
            param=param,
            code="text_too_long",
        )
    num_ids, tokenizer = pretrained.backbone.config.vocab_size, pretrained.tokenizer
    if (unknown := next((token for token in given if not 0 <= token < num_ids), None)) is not None:
        raise InvalidRequest(
            f"{param} has the token id {unknown}, the backbone's tokenizer has {num_ids}: {_REMEDY}",
            param=param,
        )
    if not (text := tokenizer.decode(list(given))):
        raise InvalidRequest(f"{param} is the token ids of no text: send at least one", param=param)
    (written,) = tokenizer.encode_many([text])  # unlike encode, it lets other threads go on
    if written != [token for token in given if token != tokenizer.eos_token_id]:
        raise InvalidRequest(
            f"{param} is not what the backbone's tokenizer writes for any text, so these token ids are another "
            f"tokenizer's: {_REMEDY}",
            param=param,
        )
    return text
