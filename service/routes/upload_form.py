"""A multipart form with one file, parsed as it comes in: no more than one piece of it is in memory at any time."""

import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from adavae.model.errors import DatasetError
from adavae.model.training.readers.columns import Columns
from adavae.service.errors import InvalidRequest, ServiceError

_MAX_HEADER_BYTES = 8192
_MAX_FIELD_BYTES = 100
_PARAMETER = re.compile(rb""";\s*([A-Za-z0-9_-]+\*?)\s*=\s*("(?:\\.|[^"\\])*"|[^;]*)""")
_EXTENDED = re.compile(r"(?i:(utf-8|iso-8859-1))'[A-Za-z0-9-]*'([A-Za-z0-9!#$&+.^_`|~%-]*)")
MAX_COLUMN_CHARACTERS = 200
_COLUMNS = ("text_column", "label_column", "pair_column")


class UploadForm:
    """The fields ``file``, those that name columns, and perhaps ``purpose``, in any order; any other is refused.

    All its methods raise ServiceError: 400 where this is not a form, 422 where it is not the expected one.
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes], *, purpose: str | None = None) -> None:
        """``purpose`` is the only one that is accepted; None where the form has no such field."""
        self._body, self._purpose = body, purpose
        self._names = ("file", *(("purpose",) if purpose is not None else ()), *_COLUMNS)
        self._parser = MultipartParser(
            _boundary(content_type, self._example),
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_name,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )
        self._header_name, self._header_value, self._disposition = bytearray(), bytearray(), b""
        self._fields: dict[str, bytearray] = {}
        self._field = ""
        self._filename: str | None = None
        self._pieces: deque[bytes] = deque()
        self._is_complete = False

    @property
    def _example(self) -> str:
        return example_of(self._purpose)

    def _malformed(self, reason: str) -> ServiceError:
        return _malformed(reason, self._example)

    @property
    def is_complete(self) -> bool:
        """Whether all of it has been read."""
        return self._is_complete

    async def filename(self) -> str:
        """Reads as far as the file begins."""
        while self._filename is None:
            if not await self._read():
                raise InvalidRequest(
                    f"file is missing: send a form with one, {self._example}", param="file", code="missing_field"
                )
        return self._filename

    async def content(self) -> AsyncGenerator[bytes, None]:
        """The file's bytes; ends only when the rest of the form has been read and found right."""
        while True:
            while self._pieces:
                yield self._pieces.popleft()
            if not await self._read():
                break
        if self._purpose is not None and "purpose" not in self._fields:
            message = f"purpose is missing: add the field purpose with {self._purpose!r}, {self._example}"
            raise InvalidRequest(message, param="purpose", code="missing_field")

    def columns(self) -> Columns:
        """The columns that are named; whole once the content has been read."""
        text, label, pair = (_text(self._fields[name]) if name in self._fields else None for name in _COLUMNS)
        try:
            return Columns(text, label, pair)
        except DatasetError as exc:
            raise InvalidRequest(str(exc), param="text_column") from exc

    async def _read(self) -> bool:
        """Parses what came next; False at the end of the form."""
        piece = await anext(self._body, None)
        if piece is None:
            if not self._is_complete:
                raise self._malformed("it ends before its last boundary")
            return False
        try:
            self._parser.write(piece)
        except FormParserError as exc:
            raise self._malformed(str(exc)[:100]) from exc
        return True

    def _on_part_begin(self) -> None:
        self._disposition = b""

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]
        self._bound_header()

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]
        self._bound_header()

    def _bound_header(self) -> None:
        if len(self._header_name) + len(self._header_value) > _MAX_HEADER_BYTES:
            raise self._malformed(f"a header in it has more than {_MAX_HEADER_BYTES} bytes")

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise self._malformed("a part of it has no name")
        self._field = _text(options[b"name"])
        if self._field not in self._names:
            message = f"{self._field[:100]}: unknown field: the fields are {', '.join(self._names)}"
            raise InvalidRequest(message, param=self._field[:100], code="unknown_field")
        if self._field in self._fields:
            raise InvalidRequest(f"{self._field} is there twice: send one file a request", param=self._field)
        self._fields[self._field] = bytearray()
        if self._field == "file":
            self._filename = extended_filename(self._disposition) or _text(options.get(b"filename", b""))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field == "file":
            self._pieces.append(data[start:end])
            return
        self._fields[self._field] += data[start:end]
        if self._field in _COLUMNS:
            if len(self._fields[self._field]) > 4 * MAX_COLUMN_CHARACTERS:  # in UTF-8
                self._refuse_column()
        elif len(self._fields[self._field]) > _MAX_FIELD_BYTES:
            self._refuse_purpose()

    def _on_part_end(self) -> None:
        if self._field in _COLUMNS and not self._fields[self._field]:
            message = f"{self._field} is empty: name a column, or leave the field out, and it is guessed"
            raise InvalidRequest(message, param=self._field)
        if self._field in _COLUMNS and len(_text(self._fields[self._field])) > MAX_COLUMN_CHARACTERS:
            self._refuse_column()
        if self._field == "purpose" and _text(self._fields["purpose"]) != self._purpose:
            self._refuse_purpose()

    def _refuse_column(self) -> None:
        message = f"{self._field} has more than {MAX_COLUMN_CHARACTERS} characters: rename the column"
        raise InvalidRequest(message, param=self._field)

    def _refuse_purpose(self) -> None:
        given = _text(self._fields["purpose"])[:60]
        message = f"purpose is {given!r}, must be {self._purpose!r}: data is stored for training only"
        raise InvalidRequest(message, param="purpose")

    def _on_end(self) -> None:
        self._is_complete = True


def example_of(purpose: str | None) -> str:
    """How such a form is sent, for messages."""
    field = f"-F purpose={purpose} " if purpose is not None else ""
    return f"as `curl {field}-F file=@texts.jsonl` does"


def _boundary(content_type: str, example: str) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        given = f"is {content_type[:100]!r}" if content_type else "is missing"
        raise ServiceError(415, "not_a_form", f"the content type {given}: send multipart/form-data, {example}")
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:  # RFC 2046, section 5.1.1
        raise _malformed(f"its boundary has {len(boundary)} characters, must have 1 to 70", example)
    return boundary


def extended_filename(disposition: bytes) -> str:
    """The name in ``filename*=utf-8''r%C3%A9sum%C3%A9.tsv`` (RFC 8187), as some clients write one that is not ASCII.

    Forms should do without it (RFC 7578, section 4.2), and so python-multipart passes it over; it is sent all the same.
    Empty where there is none that can be read.
    """
    options = {name.lower(): value for name, value in _PARAMETER.findall(disposition)}
    found = _EXTENDED.fullmatch(options.get(b"filename*", b"").strip().decode("latin-1"))
    return unquote_to_bytes(found[2]).decode(found[1], errors="replace") if found is not None else ""


def _malformed(reason: str, example: str) -> ServiceError:
    return ServiceError(
        400, "malformed_form", f"the form cannot be read, {reason}: send multipart/form-data, {example}"
    )


def _text(content: bytes | bytearray) -> str:
    return content.decode(errors="replace")
