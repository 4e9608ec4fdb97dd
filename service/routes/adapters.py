"""GET and DELETE /adapters: what is installed. No path is ever made of what a client sends; names are only compared."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Path, Query

from adavae.service.errors import InvalidRequest, ServiceError
from adavae.service.http.replies import JsonReply
from adavae.service.results import AdapterState
from adavae.service.routes.dependencies import Latent
from adavae.service.schemas.adapters import AdaptersQuery

NameInPath = Annotated[str, Path(description="`name` or `name@version`.", max_length=200, examples=["yelp"])]


async def list_adapters(query: Annotated[AdaptersQuery, Query()], latent: Latent) -> JsonReply:
    """Every installed version of every adapter set, also those that are refused, with the reason."""
    states = latent.adapters()
    start = _place_after(states, query.after)
    page = states[start : start + query.limit]
    has_more = start + len(page) < len(states)
    return JsonReply({"object": "list", "data": [shape(state) for state in page], "has_more": has_more})


async def get_adapter(name: NameInPath, latent: Latent) -> JsonReply:
    """One adapter set; a name alone means its current version."""
    named = await latent.adapters_named(name)
    if not named:
        raise _not_found(name)
    return JsonReply(shape(meant(named)))


async def delete_adapter(name: NameInPath, latent: Latent) -> JsonReply:
    """Deletes one version, or every version of a name. Bundled sets stay: 409."""
    if not await latent.adapters_named(name):
        raise _not_found(name)
    deleted = [
        {"object": "adapter", "id": state.reference, "name": state.name, "version": state.version, "deleted": True}
        for state in await latent.delete_adapter(name)
    ]
    return JsonReply({"object": "list", "data": deleted, "has_more": False})


def _place_after(states: Sequence[AdapterState], after: str | None) -> int:
    if after is None:
        return 0
    for place, state in enumerate(states, start=1):
        if state.reference == after:
            return place
    raise InvalidRequest(
        f"after is {after!r}, which is not installed: give the id of the last entry of the previous page, name@version",
        param="after",
    )


def meant(named: Sequence[AdapterState]) -> AdapterState:
    """Of what a name can mean: the version that serves, or the best one where none can."""
    return next((state for state in named if state.is_current), named[0])


def shape(state: AdapterState) -> dict[str, object]:
    """As it looks on the wire."""
    return {
        "object": "adapter",
        "id": state.reference,
        "name": state.name,
        "version": state.version,
        "latent_size": state.latent_size,
        "kind": state.kind,
        "labels": state.labels,
        "metrics": state.metrics,
        "backbone_digest": state.backbone_digest,
        "created_at": state.created_at,
        "bundled": state.is_bundled,
        "default": state.is_default,
        "current": state.is_current,
        "loaded": state.is_loaded,
        "problem": state.problem,
    }


def _not_found(name: str) -> ServiceError:
    message = f"no adapter set {name!r} is installed: GET /adapters shows those that are"
    return ServiceError(404, "adapter_not_found", message, param="name")
