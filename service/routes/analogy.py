"""POST /analogy: change one sentence as another one was changed."""

from fastapi import Request

from adavae.model.latent import defaults
from adavae.service.http.replies import JsonReply
from adavae.service.routes.dependencies import Latent, Limits
from adavae.service.routes.disconnect import unless_gone
from adavae.service.routes.limits import check_rows, check_samples, check_texts, checked_decoding
from adavae.service.routes.shapes import shape_decoded, shape_decoded_list
from adavae.service.schemas.analogy import AnalogyBody


async def analogy(body: AnalogyBody, request: Request, latent: Latent, limits: Limits) -> JsonReply:
    """`a` is to `b` as `c` is to the answer: z = z_c + scale * (mean z_b - mean z_a); one answer for every `c`."""
    groups = {"a": body.a, "b": body.b, "c": body.c}
    for param, texts in groups.items():
        check_texts(texts, limits, param)
    check_samples("samples", body.samples, limits)
    num_texts = (1 if isinstance(body.c, str) else len(body.c)) * body.samples
    check_rows(num_texts, body.steering, defaults.ANALOGY, limits)
    work = latent.analogy(
        body.a,
        body.b,
        body.c,
        scale=float(body.scale),
        samples=body.samples,
        adapter=body.adapter,
        decoding=checked_decoding(body.decoding, limits),
        steering=body.steering,
    )
    result = await unless_gone(request, work)
    data = [shape_decoded(index, row, body) | {"c": index // body.samples} for index, row in enumerate(result.rows)]
    return JsonReply(shape_decoded_list(result.adapter, result.rows, data))
