"""What POST /read takes and gives."""

from typing import Literal

from pydantic import Field

from adavae.service.schemas.files import form_with_file
from adavae.service.schemas.query import Query
from adavae.service.schemas.reply import Reply

READ_BODY = form_with_file()


class ReadQuery(Query):
    limit: int = Field(
        default=100, ge=1, le=50_000, description="Rows at most; fewer where their texts exceed ADAVAE_MAX_BODY_BYTES."
    )


class ReadRowReply(Reply):
    index: int
    line: int = Field(description="Where it begins in the file, from 1; in a parquet file the number of the row.")
    text: str = Field(description="Cleaned as everywhere; a pair is joined to one.")
    label: str | None


class ReadReply(Reply):
    object: Literal["list"] = "list"
    names: list[str] = Field(description="Columns or fields, in their order; empty for plain text.")
    columns: dict[str, str] = Field(description="Those that are read: `text`, `label`, `pair`.")
    by_content: bool = Field(
        description="True where no column has a usual name and these were chosen by what is in them: training takes "
        "them when they are named."
    )
    notes: list[str] = Field(description="How the file was read, where that is worth knowing.")
    data: list[ReadRowReply]
    has_more: bool = Field(description="Whether the file goes on; what follows has not been read.")
