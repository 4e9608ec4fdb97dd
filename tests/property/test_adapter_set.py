"""What holds of every adapter set on disk, and of every byte of it."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adavae.model.config import AdapterConfig, AdapterPlacement, LatentAggregation, LatentInfusion
from adavae.model.errors import AdapterSetMismatch, AdapterSetNotFound, ConfigError, WeightsCorrupted
from adavae.model.storage.adapter_set import read_adapter_set
from adavae.model.storage.manifest import CARD, MANIFEST, TENSORS
from tests.tiny_sets import publish

_FILES = (TENSORS, MANIFEST, CARD)
_NAMES = st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,63}\Z")
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_FINITE = st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(_TEXTS, _JSON, max_size=4)
_MOMENTS = st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
_CONFIGS = st.builds(
    AdapterConfig,
    latent_size=st.integers(1, 4096),
    encoder_layers=st.integers(1, 24),
    adapter_placement=st.sampled_from(AdapterPlacement),
    adapter_size=st.integers(1, 4096),
    adapter_scale=st.floats(-1e3, 1e3).filter(lambda scale: abs(scale) >= 1e-4),
    latent_aggregation=st.sampled_from(LatentAggregation),
    latent_infusion=st.sampled_from(LatentInfusion),
    prefix_length=st.integers(0, 512),
    labels=st.lists(_TEXTS, min_size=2, max_size=4, unique=True).map(tuple),
)


@st.composite
def tensor_sets(draw: st.DrawFn) -> dict[str, Tensor]:
    names = draw(st.lists(st.from_regex(r"\A[a-z0-9_.]{1,20}\Z"), max_size=4, unique=True))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    scale = draw(st.sampled_from([1e-9, 1.0, 1e3]))
    shapes = [tuple(draw(st.lists(st.integers(0, 4), max_size=3))) for _ in names]
    return {name: scale * torch.randn(shape, generator=generator) for name, shape in zip(names, shapes, strict=True)}


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One set that every test leaves as it found it."""
    return publish(tmp_path_factory.mktemp("root"))


def is_refused_with(path: Path, name: str, change: Callable[[bytes], bytes]) -> bool:
    """Whether a set is refused after ``change`` to one of its files, which is undone."""
    content = (path / name).read_bytes()
    try:
        (path / name).write_bytes(change(content))
        read_adapter_set(path)
    except (WeightsCorrupted, AdapterSetMismatch):
        return True
    finally:
        (path / name).write_bytes(content)
    return False


@settings(max_examples=400, deadline=None)
@given(data=st.data(), name=st.sampled_from(_FILES), mask=st.integers(1, 255))
def test_one_flipped_byte_anywhere_is_found(intact: Path, data: st.DataObject, name: str, mask: int) -> None:
    offset = data.draw(st.integers(0, (intact / name).stat().st_size - 1))

    def flipped(content: bytes) -> bytes:
        return content[:offset] + bytes([content[offset] ^ mask]) + content[offset + 1 :]

    assert is_refused_with(intact, name, flipped)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), name=st.sampled_from(_FILES), inserted=st.binary(max_size=3))
def test_bytes_replaced_by_others_anywhere_are_found(
    intact: Path, data: st.DataObject, name: str, inserted: bytes
) -> None:
    size = (intact / name).stat().st_size
    start = data.draw(st.integers(0, size))
    end = data.draw(st.integers(start, min(size, start + 20)))

    def replaced(content: bytes) -> bytes:
        return content[:start] + inserted + content[end:]

    is_other = replaced((intact / name).read_bytes()) != (intact / name).read_bytes()
    assert is_refused_with(intact, name, replaced) == is_other


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200), name=st.sampled_from(_FILES))
def test_a_file_of_any_other_bytes_is_refused(intact: Path, content: bytes, name: str) -> None:
    assert is_refused_with(intact, name, lambda _: content)


def test_the_set_that_was_changed_so_often_is_intact_again(intact: Path) -> None:
    assert read_adapter_set(intact).manifest.version == intact.name


@settings(max_examples=60, deadline=None)
@given(
    name=_NAMES, config=_CONFIGS, tensors=tensor_sets(), metrics=_OBJECTS, training=_OBJECTS, card=_TEXTS, when=_MOMENTS
)
def test_whatever_was_written_is_read_back(
    name: str,
    config: AdapterConfig,
    tensors: dict[str, Tensor],
    metrics: dict[str, Any],
    training: dict[str, Any],
    card: str,
    when: str,
) -> None:
    with TemporaryDirectory() as root:
        path = publish(
            Path(root),
            name=name,
            config=config,
            tensors=tensors,
            metrics=metrics,
            training=training,
            model_card=card,
            created_at=when,
        )
        again = read_adapter_set(path)
    manifest = again.manifest
    assert (manifest.name, manifest.config, manifest.created_at) == (name, config, when)
    assert (manifest.metrics, manifest.training) == (metrics, training)
    assert again.tensors.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert torch.equal(again.tensors[key], tensor.half().float())


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=70))
def test_a_name_is_refused_or_is_one_directory_of_its_own(name: str) -> None:
    with TemporaryDirectory() as root:
        try:
            path = publish(Path(root), name=name)
        except ConfigError:
            assert not list(Path(root).iterdir())
        else:
            assert {found.name for found in Path(root).iterdir()} == {name, ".publications"}
            assert path.parent == Path(root) / name


def test_a_directory_of_other_files_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"other")
    with pytest.raises(AdapterSetNotFound):
        read_adapter_set(tmp_path)
