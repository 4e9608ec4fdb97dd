"""What /v1/files takes and gives, in OpenAI's shapes and with what was found in the data beside them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from adavae.service.schemas.query import Query
from adavae.service.schemas.reply import Reply

Purpose = Literal["fine-tune"]

FILE_FIELD: dict[str, Any] = {
    "type": "string",
    "format": "binary",
    "description": "`.csv` or `.tsv` with a header line, `.jsonl` or `.json` with objects, or `.txt`, one text a line; "
    "also with `.gz`, `.xz`, `.zst`; or `.parquet`. Texts are in a column `text`, `sentence`, `review` or `content`, "
    "labels, if any, in `label`, `labels`, `class`, `category` or `sentiment`. At most ADAVAE_MAX_UPLOAD_BYTES.",
}
COLUMN_FIELDS: dict[str, Any] = {
    f"{part}_column": {
        "type": "string",
        "maxLength": 200,
        "description": f"Name of the column with {what}; guessed if left out.",
    }
    for part, what in (("text", "the texts"), ("label", "the labels"), ("pair", "each text's second half"))
}


def form_with_file(**required: dict[str, Any]) -> dict[str, Any]:
    """How OpenAPI says a form with a file, the names of its columns, and other fields that must be there."""
    schema = {
        "type": "object",
        "required": ["file", *required],
        "additionalProperties": False,
        "properties": {"file": FILE_FIELD, **required, **COLUMN_FIELDS},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


UPLOAD_BODY = form_with_file(purpose={"type": "string", "enum": ["fine-tune"]})

BINARY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The upload as it came.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class FilesQuery(Query):
    limit: int = Field(default=100, ge=1, le=10_000, description="Entries at most.")
    after: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="Continue after this file: the last one of the previous page."
    )
    order: Literal["asc", "desc"] = Field(default="desc", description="Newest first, or oldest first.")
    purpose: Purpose | None = Field(default=None, description="There is one purpose only.")


class TokenLengthsReply(Reply):
    measured_rows: int = Field(description="Rows that were counted: all, except in very large files.")
    median: int
    p90: int
    p99: int
    longest: int


class DatasetReportReply(Reply):
    rows: int
    blank_lines: int = Field(description="Lines between texts that were passed over.")
    labels: dict[str, int]
    exact_duplicates: int = Field(description="Rows whose text an earlier row has.")
    normalised_duplicates: int = Field(description="The same, where case and spacing make no difference.")
    conflicting_texts: int = Field(description="Texts that carry more than one label.")
    tokens: TokenLengthsReply
    max_tokens: int = Field(description="What the backbone's context leaves for a text.")
    rows_over_max_tokens: int = Field(description="Rows that are longer; training uses their beginning only.")
    warnings: list[str] = Field(description="What is worth a second look.")


class FileReply(Reply):
    object: Literal["file"] = "file"
    id: str
    bytes: int
    created_at: int = Field(description="Seconds since 1970.")
    filename: str
    purpose: Purpose
    status: Literal["processed"] = Field(description="A file that is there has been checked.")
    rows: int = Field(description="Texts in it.")
    labels: dict[str, int] = Field(description="How many rows carry each label; empty without labels.")
    sha256: str
    report: DatasetReportReply
    columns: dict[str, str] = Field(description="Columns that were named: `text`, `label`, `pair`.")
    owner: str | None = Field(description="Name of the key that sent it; null where there were no keys.")


class FileListReply(Reply):
    object: Literal["list"] = "list"
    data: list[FileReply]
    has_more: bool
    first_id: str | None
    last_id: str | None


class FileDeletedReply(Reply):
    object: Literal["file"] = "file"
    id: str
    deleted: Literal[True] = True
