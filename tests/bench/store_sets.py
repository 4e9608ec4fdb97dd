"""What many adapter sets in an object store cost: the first look, every later one, and one after a change.

    python -m tests.bench.store_sets --sets 10000

Over moto's S3 server, whose answers take some milliseconds; the sets have manifests and no tensors: no look reads them.
Writes one JSON object to stdout.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from adavae.model.storage.manifest import MANIFEST, Manifest, read_manifest
from adavae.service.objects.object_store import ObjectStore
from adavae.service.objects.published_sets import PublishedSets, key_of
from adavae.service.objects.set_index import SetIndex, Sets
from adavae.service.objects.shared_sets import SharedSets
from adavae.service.settings import store_endpoint
from adavae.service.store_address import StoreAddress
from tests.integration.faulty_store import faulty_store
from tests.integration.s3_server import s3_server, variables
from tests.tiny_sets import publish

_NUM_SENDING = 8
_LOOKS = 20

Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=10_000)
    num_sets = parser.parse_args().sets
    with tempfile.TemporaryDirectory(prefix="sets-") as directory, s3_server() as server:
        server.make_bucket("bench")
        with faulty_store(server.url) as proxy:
            os.environ.update(variables(server.url))
            root, address = Path(directory), StoreAddress("s3", "bench", "sets")
            store = ObjectStore.at(address, timeout_s=60.0, endpoint=store_endpoint())
            manifests = _manifests(root, num_sets)
            _fill(store, root, manifests)
            os.environ.update(variables(proxy.url))
            counted = ObjectStore.at(address, timeout_s=60.0, endpoint=store_endpoint())
            sets = SharedSets(counted, root / "here", [], 10**9)
            first_s, known = _timed(lambda: sets.scan({}))
            num_first = proxy.num_requests
            again_s = _timed(lambda: [sets.scan(known) for _ in range(_LOOKS)])[0] / _LOOKS
            num_again = (proxy.num_requests - num_first) / _LOOKS
            PublishedSets(store).remove((manifests[0].name, manifests[0].version), [])
            changed_s, left = _timed(lambda: sets.scan(known))
            restart_s, _ = _timed(lambda: SharedSets(counted, root / "here", [], 10**9).scan({}))
    assert len(known) == num_sets and len(left) == num_sets - 1
    figures = {"sets": num_sets, "first_s": first_s, "requests": num_first, "again_ms": again_s * 1e3}
    figures |= {"requests_again": num_again, "changed_ms": changed_s * 1e3, "restart_s": restart_s}
    sys.stdout.write(json.dumps({name: round(value, 3) for name, value in figures.items()}) + "\n")


def _manifests(root: Path, num_sets: int) -> list[Manifest]:
    """Of sets that differ in their names."""
    path = publish(root / "made")
    manifest = read_manifest(path)
    shutil.rmtree(root / "made")
    return [replace(manifest, name=f"set-{number:06d}").renamed(f"set-{number:06d}") for number in range(num_sets)]


def _fill(store: ObjectStore, root: Path, manifests: list[Manifest]) -> None:
    """All manifests, and an index of them written at once."""

    def send(manifest: Manifest) -> None:
        path = root / f"{manifest.name}.json"
        path.write_bytes(manifest.to_bytes())
        store.send(key_of(manifest.name, manifest.version, MANIFEST), path)
        path.unlink()

    with ThreadPoolExecutor(_NUM_SENDING) as threads:
        list(threads.map(send, manifests))
    numbers = {(each.name, each.version): number for number, each in enumerate(manifests, start=1)}
    store.create("sets.json", Sets(numbers, {}, len(numbers)).to_bytes())
    assert len(SetIndex(store).current().numbers) == len(manifests)


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    began_at = time.perf_counter()
    result = work()
    return time.perf_counter() - began_at, result


if __name__ == "__main__":
    main()
