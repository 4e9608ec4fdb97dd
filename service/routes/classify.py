"""POST /classify: labels for texts."""

from fastapi import Request

from adavae.service.http.replies import JsonReply
from adavae.service.results import ClassifiedText, ClassifyResult
from adavae.service.routes.dependencies import Latent, Limits
from adavae.service.routes.disconnect import unless_gone
from adavae.service.routes.limits import check_texts
from adavae.service.routes.shapes import shape_adapter
from adavae.service.schemas.classify import ClassifyBody


async def classify(body: ClassifyBody, request: Request, latent: Latent, limits: Limits) -> JsonReply:
    """Every label's probability for each text; 409 where the adapter set has no classification head."""
    texts = body.all_texts
    check_texts(texts, limits)
    work = latent.classify(texts, adapter=body.adapter, truncate=body.truncate, params=body.params)
    return JsonReply(_reply(await unless_gone(request, work), body.top_k))


def _reply(result: ClassifyResult, top_k: int | None) -> dict[str, object]:
    rows = result.rows
    return {
        "object": "list",
        "data": [_row(index, row, top_k) for index, row in enumerate(rows)],
        "adapter": shape_adapter(result.adapter),
        "usage": {
            "texts": len(rows),
            "tokens": sum(row.num_tokens for row in rows),
            "cached": sum(row.is_cached for row in rows),
        },
    }


def _row(index: int, row: ClassifiedText, top_k: int | None) -> dict[str, object]:
    return {
        "index": index,
        "label": row.classified.label,
        "scores": [{"label": label, "score": score} for label, score in list(row.classified.scores.items())[:top_k]],
        "tokens": row.num_tokens,
        "cached": row.is_cached,
    }
