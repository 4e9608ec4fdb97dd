"""POST /read: the texts of a file, as training, the command line and the page all read them."""

from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated

from fastapi import Query, Request

from adavae.model.training.readers.preview import Preview
from adavae.service.http.replies import JsonReply
from adavae.service.jobs.data.previews import Previews
from adavae.service.routes.early_refusal import answered
from adavae.service.routes.upload_form import UploadForm
from adavae.service.schemas.read import ReadQuery


async def read(request: Request, query: Annotated[ReadQuery, Query()]) -> JsonReply:
    """The columns of a file and its first texts, cleaned, with their labels; nothing of it is kept.

    Texts may be encoded, classified or drawn as they come; a file of which this shows the right rows can be sent to
    `/v1/files` with the same names of columns. A pair of texts is one, as a set trained on pairs takes it.
    """
    previews: Previews = request.app.state.previews
    form = UploadForm(request.headers.get("content-type", ""), request.stream())

    async def reply() -> JsonReply:
        async with aclosing(form.content()) as content:
            name, client = await form.filename(), request.state.client_id
            return JsonReply(
                _shape(await previews.read(name, content, form.columns, max_rows=query.limit, client=client))
            )

    return await answered(form, reply())


def _shape(preview: Preview) -> dict[str, object]:
    read = asdict(preview.read) if preview.read is not None else {}
    return {
        "object": "list",
        "names": list(preview.names),
        "columns": {part: name for part, name in read.items() if name is not None},
        "by_content": preview.is_by_content,
        "notes": list(preview.notes),
        "data": [
            {"index": index, "line": row.line, "text": row.text, "label": row.label}
            for index, row in enumerate(preview.rows)
        ],
        "has_more": preview.has_more,
    }
