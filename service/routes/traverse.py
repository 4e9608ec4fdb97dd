"""POST /traverse: what a direction of the latent space does to a text."""

from fastapi import Request

from adavae.model.latent import defaults
from adavae.model.latent.direction import BetweenTexts, Direction
from adavae.service.http.replies import JsonReply
from adavae.service.results import TraverseResult
from adavae.service.routes.dependencies import Latent, Limits
from adavae.service.routes.disconnect import unless_gone
from adavae.service.routes.limits import check_rows, check_steps, check_texts, checked_decoding
from adavae.service.routes.shapes import shape_decoded, shape_decoded_list
from adavae.service.schemas.traverse import TraverseBody
from adavae.service.settings import Settings


async def traverse(body: TraverseBody, request: Request, latent: Latent, limits: Limits) -> JsonReply:
    """Sentences along a direction through `text`: z + at * direction, with `at` evenly over `range`."""
    direction = body.direction.direction
    _check_examples(direction, limits)
    check_steps(body.steps, limits)
    check_rows(body.steps, body.steering, defaults.TRAVERSE, limits)
    work = latent.traverse(
        body.text,
        direction,
        steps=body.steps,
        between=body.between,
        adapter=body.adapter,
        decoding=checked_decoding(body.decoding, limits),
        steering=body.steering,
    )
    return JsonReply(_reply(await unless_gone(request, work), body))


def _check_examples(direction: Direction, limits: Settings) -> None:
    if isinstance(direction, BetweenTexts):
        check_texts(direction.source, limits, "direction.from")
        check_texts(direction.target, limits, "direction.to")


def _reply(result: TraverseResult, body: TraverseBody) -> dict[str, object]:
    data = [shape_decoded(index, step.decoded, body) | {"at": step.at} for index, step in enumerate(result.rows)]
    return shape_decoded_list(result.adapter, [step.decoded for step in result.rows], data)
