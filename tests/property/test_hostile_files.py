"""Files that anybody may have written: whatever is in them, reading ends in a set or in an error that names it.

Seeds are what the project writes itself, changed byte by byte, and value by value with a version that fits. For
longer: ``python -m tests.bench.fuzz_files --minutes 10``.
"""

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from adavae.model.errors import AdapterSetMismatch, WeightsCorrupted
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.manifest import parse_manifest
from adavae.model.storage.tensor_file import tensors_in
from tests.bench.fuzz_files import Seeds, changed_bytes, changed_value, signed

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800") | st.just(10**400)
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Seeds:
    return Seeds.made(tmp_path_factory.mktemp("seeds"))


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 10**6), value=_VALUES)
def test_a_manifest_with_any_value_anywhere_is_read_or_refused(seeds: Seeds, place: int, value: Any) -> None:
    content = signed(changed_value(json.loads(seeds.manifest), place, value))
    try:
        manifest = parse_manifest(Path("manifest.json"), content)
    except (WeightsCorrupted, AdapterSetMismatch) as exc:
        assert len(str(exc)) < 2000
        str(exc).encode()
    else:
        json.dumps(manifest.to_dict()).encode()


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_manifest_of_changed_bytes_is_read_or_refused(seeds: Seeds, seed: int) -> None:
    content = changed_bytes(seeds.manifest, seed)
    try:
        assert parse_manifest(Path("manifest.json"), content).to_bytes() == content
    except (WeightsCorrupted, AdapterSetMismatch) as exc:
        str(exc).encode()


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_tensors_of_changed_bytes_are_read_or_refused(seeds: Seeds, seed: int) -> None:
    content = bytearray(changed_bytes(seeds.tensors, seed))
    try:
        found = tensors_in(content)
    except SafetensorError as exc:
        assert len(str(exc)) < 2000
    else:
        assert sum(tensor.nbytes for tensor in found.values()) <= len(content)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_an_archive_of_changed_bytes_is_imported_as_it_was_or_refused(seeds: Seeds, seed: int) -> None:
    with TemporaryDirectory() as directory:
        archive = Path(directory) / "demo.tar.gz"
        archive.write_bytes(gzip.compress(changed_bytes(seeds.archive, seed), 1))
        try:
            entry = AdapterStore(Path(directory) / "own").import_set(archive)
        except (WeightsCorrupted, AdapterSetMismatch) as exc:
            assert len(str(exc)) < 2000
            str(exc).encode()
        else:
            assert (entry.path / "manifest.json").read_bytes() == seeds.manifest
