"""POST /encode: texts to latent vectors."""

import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from adavae.service.http.replies import JsonReply
from adavae.service.results import EncodedText, EncodeResult
from adavae.service.routes.dependencies import Latent, Limits
from adavae.service.routes.disconnect import unless_gone
from adavae.service.routes.limits import check_texts
from adavae.service.routes.shapes import shape_adapter, shape_vector
from adavae.service.schemas.encode import EncodeBody


async def encode(body: EncodeBody, request: Request, latent: Latent, limits: Limits) -> JsonReply:
    """Mean `mu` (and log variance) of each text's posterior.

    What has been encoded before comes from the cache, `cached` says so.
    """
    texts = body.all_texts
    check_texts(texts, limits)
    work = latent.encode(texts, adapter=body.adapter, truncate=body.truncate, params=body.params)
    return JsonReply(_reply(await unless_gone(request, work), body))


def _reply(result: EncodeResult, body: EncodeBody) -> dict[str, object]:
    rows = result.rows
    return {
        "object": "list",
        "data": [_row(index, row, body) for index, row in enumerate(rows)],
        "latent_size": result.latent_size,
        "adapter": shape_adapter(result.adapter),
        "usage": {
            "texts": len(rows),
            "tokens": sum(row.encoding.num_tokens for row in rows),
            "cached": sum(row.is_cached for row in rows),
        },
    }


def _row(index: int, row: EncodedText, body: EncodeBody) -> dict[str, object]:
    encoding = row.encoding
    mu = _normalize(encoding.mu) if body.normalize else encoding.mu
    shaped: dict[str, object] = {"index": index, "mu": shape_vector(mu, body.encoding_format)}
    if "logvar" in body.include:
        shaped["logvar"] = shape_vector(encoding.logvar, body.encoding_format)
    return shaped | {"tokens": encoding.num_tokens, "truncated": encoding.is_truncated, "cached": row.is_cached}


def _normalize(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of length 1; the zero vector stays as it is."""
    length = np.linalg.norm(vector.astype(np.float64))
    return (vector / length).astype(np.float32) if length > 0 else vector
