"""/v1/files: texts to train on. An upload is read and written as it comes in, and checked before it is kept."""

from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated
from urllib.parse import quote

from fastapi import Path, Query, Request, Response

from adavae.service.http.replies import JsonReply
from adavae.service.jobs.data.upload import PURPOSE
from adavae.service.jobs.records.job import StoredFile
from adavae.service.routes.dependencies import IdempotencyKey, Training
from adavae.service.routes.download_reply import DownloadReply
from adavae.service.routes.early_refusal import answered
from adavae.service.routes.upload_form import UploadForm
from adavae.service.schemas.files import FilesQuery

FileIdInPath = Annotated[str, Path(description="The file's id.", max_length=200, examples=["file-" + "0" * 24])]


async def create_file(request: Request, training: Training, idempotency_key: IdempotencyKey = None) -> JsonReply:
    """Stores texts to train on, after they were checked; what was found is in `report`.

    Encoding, broken lines, too few texts and bytes beyond the limit are refused; duplicates, texts longer than the
    backbone's context, a single label (enough to validate on) and the like are counted and reported.
    """
    form = UploadForm(request.headers.get("content-type", ""), request.stream(), purpose=PURPOSE)

    async def reply() -> JsonReply:
        async with aclosing(form.content()) as content:
            name = await form.filename()
            stored = await training.files.create(name, PURPOSE, content, form.columns, idempotency_key=idempotency_key)
            return JsonReply(_shape(stored))

    return await answered(form, reply())


async def list_files(query: Annotated[FilesQuery, Query()], training: Training) -> JsonReply:
    """Every stored file, newest first."""
    page = await training.files.list(limit=query.limit, after=query.after, newest_first=query.order == "desc")
    data = [_shape(stored) for stored in page.items]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return JsonReply({"object": "list", "data": data, "has_more": page.has_more, "first_id": first, "last_id": last})


async def get_file(file_id: FileIdInPath, training: Training) -> JsonReply:
    """One stored file, with what was found in it."""
    return JsonReply(_shape(await training.files.get(file_id)))


async def get_file_content(file_id: FileIdInPath, training: Training) -> Response:
    """The upload as it came."""
    stored = await training.files.get(file_id)
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(stored.filename, safe='')}",
        "x-content-type-options": "nosniff",  # whatever is in it, no browser may run it
    }
    content = await training.files.download(file_id)
    return DownloadReply(content, media_type="application/octet-stream", headers=headers)


async def delete_file(file_id: FileIdInPath, training: Training) -> JsonReply:
    """Deletes a file; 409 while a job that is not finished needs it."""
    await training.files.delete(file_id)
    return JsonReply({"object": "file", "id": file_id, "deleted": True})


def _shape(stored: StoredFile) -> dict[str, object]:
    return {
        "object": "file",
        "id": stored.id,
        "bytes": stored.num_bytes,
        "created_at": stored.created_at,
        "filename": stored.filename,
        "purpose": stored.purpose,
        "status": "processed",
        "rows": stored.num_rows,
        "labels": dict(stored.labels),
        "sha256": stored.sha256,
        "report": dict(stored.report),
        "columns": {part: name for part, name in asdict(stored.columns).items() if name is not None},
        "owner": stored.owner,
    }
