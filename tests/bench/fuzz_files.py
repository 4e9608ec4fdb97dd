"""Reads changed manifests, tensor files and archives for some minutes, and says what was read, refused, and broke.

python -m tests.bench.fuzz_files [--minutes 10] [--seed 0] [--kind manifest | tensors | archive]

What breaks, an error that is none of ours, is printed with the number that makes it again.
"""

import argparse
import copy
import gzip
import hashlib
import io
import json
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

from safetensors import SafetensorError

from adavae.model.errors import AdapterSetMismatch, WeightsCorrupted
from adavae.model.storage.importing import look_at
from adavae.model.storage.manifest import CARD, MANIFEST, TENSORS, parse_manifest
from adavae.model.storage.tensor_file import tensors_in
from tests.tiny import PREFIXED
from tests.tiny_sets import publish

REFUSALS = (WeightsCorrupted, AdapterSetMismatch, SafetensorError)
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
    directory: Path

    @classmethod
    def made(cls, directory: Path) -> Self:
        path = publish(directory / "seeds", config=PREFIXED)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name in (MANIFEST, TENSORS, CARD):
                tar.add(path / name, arcname=f"demo/{path.name}/{name}")
        return cls((path / MANIFEST).read_bytes(), (path / TENSORS).read_bytes(), packed.getvalue(), directory)


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


KINDS: dict[str, Callable[[Seeds, int], None]] = {
    "manifest": look_at_manifest,
    "tensors": look_at_tensors,
    "archive": look_at_archive,
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
            assert len(str(exc)) < 5000
            str(exc).encode()
            outcomes["refused"] += 1
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
