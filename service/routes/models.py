"""/v1/models: the adapter sets that can be used, in OpenAI's shapes. GET /adapters says more about them."""

from datetime import UTC, datetime

from adavae.service.errors import ServiceError
from adavae.service.http.replies import JsonReply
from adavae.service.results import AdapterState
from adavae.service.routes.adapters import NameInPath, meant
from adavae.service.routes.dependencies import Latent


async def list_models(latent: Latent) -> JsonReply:
    """Every adapter set that can be used, each version of it; the current one goes by its name alone."""
    return JsonReply({"object": "list", "data": [_shape(state) for state in latent.adapters() if not state.problem]})


async def get_model(name: NameInPath, latent: Latent) -> JsonReply:
    """One adapter set; a name alone means its current version."""
    return JsonReply(_shape(await _found(name, latent)))


async def delete_model(name: NameInPath, latent: Latent) -> JsonReply:
    """Deletes one version, or every version of a name. Bundled sets stay: 409."""
    await _found(name, latent)
    await latent.delete_adapter(name)
    return JsonReply({"object": "model", "id": name, "deleted": True})


async def _found(name: str, latent: Latent) -> AdapterState:
    named = await latent.adapters_named(name)
    if not named:
        message = f"no model {name!r} is installed: GET /v1/models shows those that are"
        raise ServiceError(404, "model_not_found", message, param="model")
    return meant(named)


def _shape(state: AdapterState) -> dict[str, object]:
    return {
        "object": "model",
        "id": state.name if state.is_current else state.reference,
        "created": _seconds(state.created_at),
        "owned_by": "adavae" if state.is_bundled else "user",
    }


def _seconds(created_at: str | None) -> int:
    """Of what a manifest says, which may be anything."""
    try:
        moment = datetime.fromisoformat(created_at or "")
        return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError):
        return 0
