"""What an installed adapter set is made of, for people and for other machines: its card, and the whole set."""

from fastapi import Response

from adavae.service.routes.adapters import NameInPath
from adavae.service.routes.dependencies import Latent
from adavae.service.routes.download_reply import DownloadReply

_AS_IT_IS = {"x-content-type-options": "nosniff"}


async def get_card(name: NameInPath, latent: Latent) -> Response:
    """The model card, Markdown: what the set was made from, how it measured, what it is not good for."""
    return Response(await latent.adapter_card(name), media_type="text/markdown; charset=utf-8", headers=_AS_IT_IS)


async def get_archive(name: NameInPath, latent: Latent) -> Response:
    """The whole set, verified, as `adavae adapters import` takes it."""
    file_name = "".join(character if character.isalnum() or character in "._-" else "-" for character in name)
    disposition = {"content-disposition": f'attachment; filename="{file_name}.tar.gz"'}
    archive = await latent.adapter_archive(name)
    return DownloadReply(archive, media_type="application/gzip", headers=_AS_IT_IS | disposition)
