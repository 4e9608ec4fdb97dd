"""Reads changed files, records, streams and cache values for some minutes: what was read, refused, and broke.

python -m tests.bench.fuzz_files [--minutes 10] [--seed 0] [--kind NAME]

Kinds: manifest, tensors, archive, job, data, events, cache. What breaks, an error that is none of ours, is printed with
the number that makes it again.
"""

import argparse
import copy
import gzip
import hashlib
import io
import json
import lzma
import random
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx2
import numpy as np
from safetensors import SafetensorError

from adavae.model.errors import AdapterSetMismatch, DatasetError, WeightsCorrupted
from adavae.model.storage.importing import look_at
from adavae.model.storage.manifest import CARD, MANIFEST, TENSORS, parse_manifest
from adavae.model.storage.tensor_file import tensors_in
from adavae.service.client.retries import AdaVAEServiceError
from adavae.service.client.stream_reading import StreamReading
from adavae.service.encodings.cache import KEY_PREFIX, pack, unpack
from adavae.service.jobs.data.check_pool import CheckTime
from adavae.service.jobs.data.dataset_report import report_on
from adavae.service.jobs.records.decoding import decoded_job
from adavae.service.jobs.records.volume_file import NotReadable
from adavae.service.results import Encoding
from tests.tiny import PREFIXED
from tests.tiny_sets import publish
from tests.unit.service.jobs.job_home import new_job

REFUSALS = (
    *(WeightsCorrupted, AdapterSetMismatch, SafetensorError, DatasetError, NotReadable),
    *(AdaVAEServiceError, httpx2.DecodingError),
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**63, 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan")),
    *("", "\ud800", "a" * 5000, "../x", "9" * 400, [], {}, [[]], {"": {}}, [0] * 5000, json.loads("[" * 90 + "]" * 90)),
)
_ODD_BYTES = (b"\x00", b"\xff", b"[", b"{", b'"', b"\\ud800", b"9" * 40, b"-", b"\x80\x00\x00\x00", b"\x00" * 512)


@dataclass(frozen=True, slots=True)
class Seeds:
    """Files that the project writes itself."""

    manifest: bytes
    tensors: bytes
    archive: bytes
    job: bytes
    cache: bytes
    directory: Path

    @classmethod
    def made(cls, directory: Path) -> Self:
        path = publish(directory / "seeds", config=PREFIXED)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name in (MANIFEST, TENSORS, CARD):
                tar.add(path / name, arcname=f"demo/{path.name}/{name}")
        job = json.dumps(new_job(id=_JOB_ID).to_dict()).encode()
        return cls(
            (path / MANIFEST).read_bytes(),
            (path / TENSORS).read_bytes(),
            packed.getvalue(),
            job,
            pack(_KEY, _ENCODING),
            directory,
        )


def changed_bytes(content: bytes, seed: int) -> bytes:
    """``content`` with some of it changed, left out, doubled, or replaced by what parsers stumble over."""
    draw = random.Random(seed)
    for _ in range(draw.randint(1, 6)):
        start = draw.randrange(len(content) + 1)
        end = min(len(content), start + draw.choice([0, 1, 1, 4, 12, 512]))
        middle = draw.choice([b"", draw.choice(_ODD_BYTES), draw.randbytes(draw.randint(1, 8)), 2 * content[start:end]])
        content = content[:start] + middle + content[end:]
    return content


def changed_value(values: Any, place: int, value: Any) -> Any:
    """``values`` with ``value`` in the place of one of those in it, however deep."""
    changed = copy.deepcopy(values)
    places: list[tuple[Any, Any]] = []

    def gather(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            gather(node[key])

    gather(changed)
    holder, key = places[place % len(places)]
    holder[key] = value
    return changed


def signed(values: Any) -> bytes:
    """A manifest's file with the version that its content has, as somebody would write it who means harm."""
    unsigned = {name: value for name, value in values.items() if name != "version"}
    canonical = json.dumps(unsigned, sort_keys=True, separators=(",", ":"))
    version = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    return (json.dumps({**values, "version": version}, indent=2, sort_keys=True) + "\n").encode()


def look_at_manifest(seeds: Seeds, seed: int) -> None:
    draw = random.Random(seed)
    if draw.random() < 0.5:
        content = changed_bytes(seeds.manifest, seed)
    else:
        content = signed(changed_value(json.loads(seeds.manifest), draw.randrange(10**6), draw.choice(ODD_VALUES)))
    json.dumps(parse_manifest(Path("manifest.json"), content).to_dict()).encode()


def look_at_tensors(seeds: Seeds, seed: int) -> None:
    tensors_in(bytearray(changed_bytes(seeds.tensors, seed)))


def look_at_archive(seeds: Seeds, seed: int) -> None:
    path = seeds.directory / "changed.tar.gz"
    content = changed_bytes(seeds.archive, seed)
    path.write_bytes(changed_bytes(gzip.compress(content, 1), seed) if seed % 4 == 0 else gzip.compress(content, 1))
    look_at(path, lambda _: None)


def look_at_job(seeds: Seeds, seed: int) -> None:
    draw = random.Random(seed)
    content = changed_bytes(seeds.job, seed)
    if draw.random() < 0.5:
        values = changed_value(json.loads(seeds.job), draw.randrange(10**6), draw.choice(ODD_VALUES))
        content = json.dumps(values).encode()
    decoded_job(content, _JOB_ID).to_dict()


def look_at_data(seeds: Seeds, seed: int) -> None:
    draw = random.Random(seed)
    ending = draw.choice(list(_DATA))
    content = changed_bytes(_DATA[ending] * draw.randint(1, 3), seed)
    if draw.random() < 0.2:
        ending, content = ending + ".xz", changed_bytes(lzma.compress(content, preset=0), seed)
    path = seeds.directory / f"data{ending}"
    path.write_bytes(content)
    report_on(
        path,
        count_tokens=lambda texts: [len(text) for text in texts],
        max_tokens=200,
        max_bytes=200_000,
        max_line_bytes=20_000,
        check_time=CheckTime(5),
    ).to_dict()


def look_at_events(seeds: Seeds, seed: int) -> None:
    del seeds
    request = httpx2.Request("GET", "http://127.0.0.1/")
    headers = {"content-type": "text/event-stream"}
    response = httpx2.Response(200, headers=headers, content=changed_bytes(_EVENTS, seed), request=request)
    reading = StreamReading()
    for event in httpx2.EventSource(response):
        for piece in reading.pieces(event):
            assert isinstance(piece.text, str)
    reading.check_done()


def look_at_cache(seeds: Seeds, seed: int) -> None:
    content = changed_bytes(seeds.cache, seed)
    encoding = unpack(_KEY, content)
    assert encoding is None or content == seeds.cache
    if encoding is None:
        raise NotReadable("a miss")


_JOB_ID, _KEY = f"ftjob-{'0' * 24}", f"{KEY_PREFIX}{'a' * 64}"
_ENCODING = Encoding(np.arange(6, dtype=np.float32), np.zeros(6, np.float32), 4, False)  # its fields
_DATA = {
    ".txt": "the food was great .\nmy room was\u00a0awful .\n".encode(),
    ".tsv": b'label\ttext\nyes\t"the ""food"" was great ."\nno\tmy room was awful .\n',
    ".csv": b'text,label,stars\n"great, really",yes,5\n"my room\nwas awful",no,1\n',
    ".jsonl": b'{"text": "the food was great .", "label": "yes"}\n{"text": "my room", "label": "no", "id": 3}\n',
    ".json": b'[{"text": "the food was great .", "label": true}, {"text": "my room", "label": false}]',
}
_EVENTS = (
    b'data: {"index": 0, "text": "the food"}\n\nevent: ping\ndata: {}\n\nid: 7\ndata: {"index": 1, "text": " was"}\n\n'
    b'event: error\ndata: {"error": {"code": "overloaded", "message": "later", "param": null}}\n\ndata: [DONE]\n\n'
)
KINDS: dict[str, Callable[[Seeds, int], None]] = {
    "manifest": look_at_manifest,
    "tensors": look_at_tensors,
    "archive": look_at_archive,
    "job": look_at_job,
    "data": look_at_data,
    "events": look_at_events,
    "cache": look_at_cache,
}


def fuzz(kind: str, minutes: float, first_seed: int, seeds: Seeds) -> dict[str, object]:
    """Tries as many changes as fit into the time."""
    outcomes, broke = Counter[str](), dict[str, int]()
    ends_s, seed = time.monotonic() + 60 * minutes, first_seed
    while time.monotonic() < ends_s:
        try:
            KINDS[kind](seeds, seed)
            outcomes["read"] += 1
        except REFUSALS as exc:
            is_sayable = len(str(exc)) < 5000 and not any("\ud800" <= letter <= "\udfff" for letter in str(exc))
            outcomes["refused" if is_sayable else "broke"] += 1
            if not is_sayable:
                broke.setdefault(f"cannot be said: {exc!r}"[:200], seed)
        except Exception as exc:  # what this program looks for
            outcomes["broke"] += 1
            broke.setdefault(f"{type(exc).__name__}: {exc}"[:200], seed)
        seed += 1
    return {"kind": kind, "tries": seed - first_seed, **outcomes, "broke_with": broke}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=list(KINDS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        seeds = Seeds.made(Path(directory))
        for kind in [arguments.kind] if arguments.kind else KINDS:
            sys.stdout.write(json.dumps(fuzz(kind, arguments.minutes, arguments.seed, seeds)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
