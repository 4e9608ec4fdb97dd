"""POST /analogy: change one sentence as another one was changed."""

from fastapi import Request

from adavae.service.http.replies import JsonReply
from adavae.service.routes.dependencies import Latent, Limits
from adavae.service.routes.disconnect import unless_gone
from adavae.service.routes.limits import check_samples, checked_decoding
from adavae.service.routes.shapes import shape_decoded, shape_decoded_list
from adavae.service.schemas.analogy import AnalogyBody


async def analogy(body: AnalogyBody, request: Request, latent: Latent, limits: Limits) -> JsonReply:
    """`a` is to `b` as `c` is to the answer: z = z_c + scale * (z_b - z_a)."""
    check_samples("samples", body.samples, limits)
    work = latent.analogy(
        body.a,
        body.b,
        body.c,
        scale=float(body.scale),
        samples=body.samples,
        adapter=body.adapter,
        decoding=checked_decoding(body.decoding, limits),
    )
    result = await unless_gone(request, work)
    data = [shape_decoded(index, row, with_z="z" in body.include) for index, row in enumerate(result.rows)]
    return JsonReply(shape_decoded_list(result.adapter, result.rows, data))
