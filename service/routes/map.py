"""POST /map: many texts as points of a plane, and with PCA the way back from the plane to z."""

from fastapi import Request

from adavae.service.errors import InvalidRequest
from adavae.service.http.replies import JsonReply
from adavae.service.results import MapResult
from adavae.service.routes.dependencies import Latent, Limits
from adavae.service.routes.disconnect import unless_gone
from adavae.service.routes.shapes import shape_adapter, shape_vector
from adavae.service.schemas.map import MapBody


async def map_texts(body: MapBody, request: Request, latent: Latent, limits: Limits) -> JsonReply:
    """Each text as a point of a plane, with its nearest neighbour in z.

    With `pca` any point of the plane can be decoded: send `z = mean + x * basis[0] + y * basis[1]` to /decode.
    """
    if len(body.texts) > limits.max_map_texts:
        raise InvalidRequest(
            f"texts has {len(body.texts)} entries, the limit is {limits.max_map_texts} (ADAVAE_MAX_MAP_TEXTS): send a "
            "sample of them",
            param="texts",
            code="too_many_texts",
        )
    work = latent.map_texts(
        body.texts, labels=body.labels, method=body.method, adapter=body.adapter, truncate=body.truncate
    )
    return JsonReply(_reply(await unless_gone(request, work), body))


def _reply(result: MapResult, body: MapBody) -> dict[str, object]:
    drawn, plane, parting = result.drawn, result.drawn.plane, result.drawn.separation
    rows = zip(
        drawn.points.tolist(), drawn.neighbours.nearest.tolist(), drawn.neighbours.distance.tolist(), strict=True
    )
    data = [
        {"index": index, "x": x, "y": y, "nearest": nearest, "distance": distance}
        | ({"label": body.labels[index]} if body.labels is not None else {})
        for index, ((x, y), nearest, distance) in enumerate(rows)
    ]
    return {
        "object": "list",
        "method": body.method,
        "data": data,
        "adapter": shape_adapter(result.adapter),
        "latent_size": len(result.rows[0].encoding.mu),
        "mean": shape_vector(plane.mean, body.encoding_format) if plane is not None else None,
        "basis": [shape_vector(way, body.encoding_format) for way in plane.basis] if plane is not None else None,
        "explained": plane.explained if plane is not None else None,
        "separation": {"accuracy": parting.accuracy, "majority": parting.majority, "rows": parting.rows}
        if parting is not None
        else None,
        "usage": {
            "texts": len(result.rows),
            "tokens": sum(row.encoding.num_tokens for row in result.rows),
            "cached": sum(row.is_cached for row in result.rows),
        },
    }
