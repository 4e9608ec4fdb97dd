"""Parts of replies that several routes have."""

from collections.abc import Sequence

import numpy as np

from adavae.model.results import DecodedText
from adavae.service.results import AdapterRef


def shape_adapter(adapter: AdapterRef) -> dict[str, str]:
    """The adapter set and version that made a reply."""
    return {"name": adapter.name, "version": adapter.version}


def shape_decoded(index: int, row: DecodedText, *, with_z: bool = False) -> dict[str, object]:
    """One decoded text, with its z where that was asked for."""
    shaped: dict[str, object] = {
        "index": index,
        "text": row.text,
        "tokens": row.num_tokens,
        "finish_reason": row.finish_reason,
    }
    if not with_z:
        return shaped
    return shaped | {"z": np.ascontiguousarray(row.z, dtype=np.float32), "typicality": row.typicality}


def shape_decoded_list(
    adapter: AdapterRef, rows: Sequence[DecodedText], data: Sequence[dict[str, object]]
) -> dict[str, object]:
    """A whole reply of decoded texts; ``data`` is the rows as they are shown."""
    usage = {"texts": len(rows), "tokens": sum(row.num_tokens for row in rows)}
    return {"object": "list", "data": data, "adapter": shape_adapter(adapter), "usage": usage}
