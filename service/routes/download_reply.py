"""Sends a download piece by piece, as fast as the client takes it, and closes its files however that ends."""

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from adavae.service.downloads import Download
from adavae.service.http.head import is_head, send_head


class DownloadReply(StreamingResponse):
    """With a length where it is known."""

    def __init__(self, download: Download, *, media_type: str, headers: dict[str, str]) -> None:
        length = {} if download.num_bytes is None else {"content-length": str(download.num_bytes)}
        super().__init__(download.pieces, media_type=media_type, headers=headers | length)
        self._download = download

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if is_head(scope):
                await send_head(self, send)
            else:
                await super().__call__(scope, receive, send)
        finally:
            await run_in_threadpool(self._download.close)
