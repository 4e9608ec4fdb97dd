"""Bodies as bytes, in the spellings that JSON and forms have, the wrong ones among them."""

import json
import random
from typing import Any

BOUNDARY = "x"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def as_json(draw: random.Random, body: Any) -> bytes:
    """With characters as themselves or escaped; half pairs of surrogates either way."""
    return json.dumps(body, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")


def form(parts: list[tuple[bytes, bytes]], end: bytes = b"--x--\r\n") -> bytes:
    """``parts`` are headers and contents."""
    return b"".join(b"--x\r\n" + headers + b"\r\n\r\n" + content + b"\r\n" for headers, content in parts) + end


def file_part(filename: bytes, content: bytes) -> tuple[bytes, bytes]:
    return b'Content-Disposition: form-data; name="file"; filename="' + filename + b'"', content


PURPOSE = (b'Content-Disposition: form-data; name="purpose"', b"fine-tune")
