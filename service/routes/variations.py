"""POST /variations: other sentences near a text."""

from fastapi import Request

from adavae.model.latent import defaults
from adavae.service.http.replies import JsonReply
from adavae.service.results import VariationsResult
from adavae.service.routes.dependencies import Latent, Limits
from adavae.service.routes.disconnect import unless_gone
from adavae.service.routes.limits import check_rows, check_samples, check_texts, checked_decoding
from adavae.service.routes.shapes import shape_decoded, shape_decoded_list
from adavae.service.schemas.variations import VariationsBody


async def variations(body: VariationsBody, request: Request, latent: Latent, limits: Limits) -> JsonReply:
    """`n` different sentences near each text: none reads like the text, or like another one of them.

    The points are drawn around the text's place in the latent space, farther away until enough sentences differ.
    """
    texts = body.all_texts
    check_texts(texts, limits)
    check_samples("n", body.n, limits)
    check_rows(len(texts) * body.n, body.steering, defaults.VARIATIONS, limits, tries=defaults.VARIATION_TRIES)
    work = latent.variations(
        texts,
        num=body.n,
        distance=float(body.distance),
        adapter=body.adapter,
        decoding=checked_decoding(body.decoding, limits),
        steering=body.steering,
        params=body.params,
    )
    return JsonReply(_reply(await unless_gone(request, work), body))


def _reply(result: VariationsResult, body: VariationsBody) -> dict[str, object]:
    rows = [(source, row) for source, near in enumerate(result.rows) for row in near]
    data = [shape_decoded(index, row, body) | {"source": source} for index, (source, row) in enumerate(rows)]
    return shape_decoded_list(result.adapter, [row for _, row in rows], data)
