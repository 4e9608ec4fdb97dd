"""POST /interpolate: the way from one sentence to another."""

from fastapi import Request

from adavae.model.latent import defaults
from adavae.service.http.replies import JsonReply
from adavae.service.results import InterpolateResult
from adavae.service.routes.dependencies import Latent, Limits
from adavae.service.routes.disconnect import unless_gone
from adavae.service.routes.limits import check_rows, check_steps, check_texts, checked_decoding
from adavae.service.routes.shapes import shape_decoded, shape_decoded_list
from adavae.service.schemas.interpolate import InterpolateBody


async def interpolate(body: InterpolateBody, request: Request, latent: Latent, limits: Limits) -> JsonReply:
    """Sentences along the way from `source` to `target` in the latent space; `tau` goes evenly from 0 to 1.

    Of lists each source goes to its own target, as it would alone: one walk after the other, told apart by `pair`.
    """
    check_texts(body.source, limits, "source")
    check_steps(body.steps, limits)
    check_rows(body.num_walks * body.steps, body.steering, defaults.WALK, limits)
    work = latent.interpolate(
        body.source,
        body.target,
        steps=body.steps,
        method=body.interpolation,
        adapter=body.adapter,
        decoding=checked_decoding(body.decoding, limits),
        steering=body.steering,
    )
    return JsonReply(_reply(await unless_gone(request, work), body))


def _reply(result: InterpolateResult, body: InterpolateBody) -> dict[str, object]:
    data = [
        shape_decoded(index, step.decoded, body) | {"pair": index // body.steps, "tau": step.tau}
        for index, step in enumerate(result.rows)
    ]
    return shape_decoded_list(result.adapter, [step.decoded for step in result.rows], data)
