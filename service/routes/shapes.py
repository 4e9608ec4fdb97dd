"""Parts of replies that several routes have."""

import base64
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from adavae.model.results import DecodedText
from adavae.service.results import AdapterRef

EncodingFormat = Literal["float", "base64"]


class ShowsZ(Protocol):
    """A request that says whether, and how, z is shown."""

    @property
    def include(self) -> Sequence[Literal["z"]]: ...

    @property
    def encoding_format(self) -> EncodingFormat: ...


def shape_adapter(adapter: AdapterRef) -> dict[str, str]:
    """The adapter set and version that made a reply."""
    return {"name": adapter.name, "version": adapter.version}


def shape_decoded(index: int, row: DecodedText, asked: ShowsZ) -> dict[str, object]:
    """One decoded text, with its z where that was asked for."""
    shaped: dict[str, object] = {
        "index": index,
        "text": row.text,
        "tokens": row.num_tokens,
        "finish_reason": row.finish_reason,
    }
    if "z" not in asked.include:
        return shaped
    return shaped | {"z": shape_vector(row.z, asked.encoding_format), "typicality": row.typicality}


def shape_decoded_list(
    adapter: AdapterRef, rows: Sequence[DecodedText], data: Sequence[dict[str, object]]
) -> dict[str, object]:
    """A whole reply of decoded texts; ``data`` is the rows as they are shown."""
    usage = {"texts": len(rows), "tokens": sum(row.num_tokens for row in rows)}
    return {"object": "list", "data": data, "adapter": shape_adapter(adapter), "usage": usage}


def shape_vector(vector: NDArray[np.float32], encoding_format: EncodingFormat) -> object:
    """An array that JSON is written from as it is, or base64 of little-endian float32."""
    if encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return np.ascontiguousarray(vector, dtype=np.float32)
