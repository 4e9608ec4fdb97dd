"""POST /v1/embeddings: texts to vectors of length 1, in OpenAI's shapes, for the clients that speak them."""

from fastapi import Request

from adavae.service.http.replies import JsonReply
from adavae.service.routes.dependencies import Latent, Limits
from adavae.service.routes.disconnect import unless_gone
from adavae.service.routes.limits import check_inputs
from adavae.service.routes.shapes import shape_vector
from adavae.service.schemas.embeddings import EmbeddingsBody


async def create_embeddings(body: EmbeddingsBody, request: Request, latent: Latent, limits: Limits) -> JsonReply:
    """`mu` less the mean of the set's texts, scaled to length 1; `model` is an adapter set.

    Good for finding texts that say the same in other words of the kind the set was trained on, and for labels; a model
    trained for retrieval is better at that.
    """
    check_inputs(body.inputs, limits)
    work = latent.embed(body.inputs, adapter=body.model, dimensions=body.dimensions, params=body.params)
    result = await unless_gone(request, work)
    data = [
        {"object": "embedding", "index": index, "embedding": shape_vector(vector, body.encoding_format)}
        for index, vector in enumerate(result.vectors)
    ]
    usage = {"prompt_tokens": result.num_tokens, "total_tokens": result.num_tokens}
    name = f"{result.adapter.name}@{result.adapter.version}"
    return JsonReply({"object": "list", "data": data, "model": name, "usage": usage})
