"""An adapter set that somebody sends: its archive on the disk while it is looked at, a piece of it in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from adavae.model.errors import AdaVAEError, StorageFull, WeightsCorrupted
from adavae.model.storage.atomic import remove_abandoned, staging_directory
from adavae.service.errors import InvalidRequest, ServiceError

_ARCHIVE = "the-archive"
_BLOCK_BYTES = 1024**2


@asynccontextmanager
async def received(content: AsyncIterator[bytes], root: Path, max_bytes: int) -> AsyncIterator[Path]:
    """What comes, as a file on the disk of ``root``; it is gone when this is left.

    Raises:
        ServiceError: 413 where there are more than ``max_bytes``, 422 where there are none, 503 where the disk takes no
            more.
    """
    staging = staging_directory(root)
    try:
        await asyncio.to_thread(remove_abandoned, root)
        path = (await asyncio.to_thread(staging.__enter__)) / _ARCHIVE
        try:
            await _write(content, path, max_bytes)
            yield path
        finally:
            await asyncio.to_thread(staging.__exit__, None, None, None)
    except StorageFull as exc:
        raise _unusable(exc) from exc
    except OSError as exc:
        raise _unusable(exc.strerror) from exc


def told_of(archive: Path, error: AdaVAEError) -> AdaVAEError:
    """What is wrong with an archive, for who sent it: without the server's directories, and as a mistake of theirs."""
    if isinstance(error, ServiceError) or not isinstance(error, WeightsCorrupted):
        return error
    return InvalidRequest(str(error).replace(str(archive), "the archive"), param="body", code="adapter_corrupted")


async def _write(content: AsyncIterator[bytes], path: Path, max_bytes: int) -> None:
    block, num_bytes = bytearray(), 0
    async for piece in content:
        block += piece
        num_bytes += len(piece)
        if num_bytes > max_bytes:
            raise ServiceError(
                413,
                "body_too_large",
                f"the archive has more than {max_bytes} bytes, which is the limit (ADAVAE_MAX_UPLOAD_BYTES): import it "
                "on the service's machine, with `adavae adapters import`",
            )
        if len(block) >= _BLOCK_BYTES:
            await asyncio.to_thread(_append, path, block)
            block.clear()
    if not num_bytes:
        raise InvalidRequest(
            "the body is empty: send a set's .tar.gz, as `adavae adapters export` makes it", param="body"
        )
    await asyncio.to_thread(_append, path, block)


def _append(path: Path, block: bytearray) -> None:
    with path.open("ab") as file:
        file.write(block)


def _unusable(reason: object) -> ServiceError:
    message = f"the volume with adapter sets takes no set ({reason}): ask who runs the service to look after it"
    return ServiceError(503, "storage_unavailable", message, retry_after_s=60)
