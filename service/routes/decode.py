"""POST /decode: latent vectors, given or drawn, to texts; at once or piece by piece."""

from collections.abc import AsyncGenerator

from fastapi import Request, Response

from adavae.model.decoding.decoding import Decoding
from adavae.model.latent import defaults
from adavae.service.http.deadlines import Deadline, deadline_of
from adavae.service.http.replies import JsonReply
from adavae.service.latent_protocol import LatentOperations
from adavae.service.results import DecodeResult, TextPiece
from adavae.service.routes.dependencies import Latent, Limits
from adavae.service.routes.disconnect import unless_gone
from adavae.service.routes.event_stream import EventStream
from adavae.service.routes.limits import check_rows, check_samples, checked_decoding
from adavae.service.routes.shapes import shape_decoded, shape_decoded_list
from adavae.service.schemas.decode import DecodeBody

Item = TextPiece | DecodeResult


async def decode(body: DecodeBody, request: Request, latent: Latent, limits: Limits) -> Response:
    """A text for each latent vector in `z`, or for each of `samples` draws from the adapter set's prior.

    With `stream: true` the reply is server-sent events: `{"index", "text"}` for each piece a row grows by, then the
    object that is the reply without streaming, then `[DONE]`. An error after the start comes as an event `error`.
    """
    param, number = ("z", len(body.z)) if body.z is not None else ("samples", body.samples or 0)
    check_samples(param, number, limits)
    check_rows(number, body.steering, defaults.DECODE if body.z is not None else defaults.DRAW, limits)
    decoding = checked_decoding(body.decoding, limits)
    if not body.stream:
        return JsonReply(_reply(await unless_gone(request, _decoded(body, latent, decoding)), body))
    items = _items(body, latent, decoding)
    try:
        # The first item before the reply begins: what is refused has a status of its own.
        first = await unless_gone(request, anext(items))
    except BaseException:
        await items.aclose()
        raise
    return EventStream(_objects(first, items, body, deadline_of(request.scope)))


async def _decoded(body: DecodeBody, latent: LatentOperations, decoding: Decoding) -> DecodeResult:
    adapter, steering = body.adapter, body.steering
    if body.z is None:
        num = body.samples or 0
        return await latent.sample(num, adapter=adapter, decoding=decoding, draw=body.draw, steering=steering)
    decodings = decoding.for_rows(len(body.z))
    return await latent.decode(body.z, adapter=adapter, decodings=decodings, steering=steering)


def _items(body: DecodeBody, latent: LatentOperations, decoding: Decoding) -> AsyncGenerator[Item, None]:
    adapter, steering = body.adapter, body.steering
    if body.z is None:
        num = body.samples or 0
        return latent.sample_stream(num, adapter=adapter, decoding=decoding, draw=body.draw, steering=steering)
    return latent.decode_stream(body.z, adapter=adapter, decodings=decoding.for_rows(len(body.z)), steering=steering)


async def _objects(
    first: Item, rest: AsyncGenerator[Item, None], body: DecodeBody, deadline: Deadline
) -> AsyncGenerator[object, None]:
    item: Item | None = first
    try:
        while item is not None:
            yield _event(item, body)
            async with deadline.kept():
                item = await anext(rest, None)
    finally:
        await rest.aclose()


def _event(item: Item, body: DecodeBody) -> dict[str, object]:
    return {"index": item.index, "text": item.text} if isinstance(item, TextPiece) else _reply(item, body)


def _reply(result: DecodeResult, body: DecodeBody) -> dict[str, object]:
    data = [shape_decoded(index, row, body) for index, row in enumerate(result.rows)]
    return shape_decoded_list(result.adapter, result.rows, data)
