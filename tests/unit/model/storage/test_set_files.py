"""The optional file of an adapter set: its prior is written, verified, exported, imported like the rest."""

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import torch as safetensors

from adavae.model.errors import ConfigError, WeightsCorrupted
from adavae.model.storage.adapter_set import read_adapter_set
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.manifest import CARD, MANIFEST, PRIOR, TENSORS, read_manifest
from tests.tiny_sets import edit_manifest, forge_manifest, publish, tiny_tensors

PRIOR_TENSORS = {"shift.0.weight": torch.randn(4, 3, generator=torch.Generator().manual_seed(3)) * 1e6}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a set with a prior."""
    return publish(tmp_path / "own", prior_tensors=PRIOR_TENSORS)


def test_a_prior_comes_back_as_it_was_written_in_float32(path: Path) -> None:
    adapter_set = read_adapter_set(path)
    assert adapter_set.manifest.prior_shapes == {"shift.0.weight": (4, 3)}
    assert adapter_set.prior_tensors is not None
    assert torch.equal(adapter_set.prior_tensors["shift.0.weight"], PRIOR_TENSORS["shift.0.weight"])
    assert adapter_set.tensors.keys() == tiny_tensors().keys()
    assert set(adapter_set.manifest.files) == {TENSORS, CARD, PRIOR}


def test_a_set_without_a_prior_is_written_as_before(tmp_path: Path) -> None:
    path = publish(tmp_path)
    assert read_adapter_set(path).prior_tensors is None
    assert not (path / PRIOR).exists()
    assert "prior_shapes" not in (path / MANIFEST).read_text(encoding="utf-8")


def test_the_version_depends_on_the_prior(path: Path) -> None:
    other = {name: tensor + 1 for name, tensor in PRIOR_TENSORS.items()}
    versions = {path.name, publish(path.parents[1]).name, publish(path.parents[1], prior_tensors=other).name}
    assert len(versions) == 3


def test_numbers_that_are_not_finite_are_no_prior(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"shift.*finite numbers that float32 can hold"):
        publish(tmp_path, prior_tensors={"shift": torch.tensor([1.0, float("nan")])})
    assert not list(tmp_path.rglob(PRIOR))


def _exchange(path: Path) -> None:
    (path / PRIOR).write_bytes(safetensors.save({"shift.0.weight": torch.zeros(4, 3)}))


def _no_shapes(path: Path) -> None:
    forge_manifest(path, lambda values: values.pop("prior_shapes"))


def _no_file(path: Path) -> None:
    forge_manifest(path, lambda values: values["files"].pop(PRIOR))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / PRIOR).unlink(),
        lambda path: (path / PRIOR).write_bytes(b""),
        _exchange,
        _no_shapes,
        _no_file,
        lambda path: edit_manifest(path, lambda values: values.pop("prior_shapes")),
        lambda path: forge_manifest(path, lambda values: values["prior_shapes"].update({"shift.0.weight": [3, 4]})),
        lambda path: forge_manifest(path, lambda values: values.update(prior_shapes=None)),
        lambda path: forge_manifest(path, lambda values: values.update(prior_shapes=[1])),
        lambda path: forge_manifest(path, lambda values: values.update(prior_shapes={"shift.0.weight": 3})),
    ],
)
def test_a_damaged_prior_is_found(path: Path, damage: Callable[[Path], object]) -> None:
    damage(path)
    store = AdapterStore(path.parents[1])
    with pytest.raises(WeightsCorrupted):
        read_adapter_set(path)
    ((_, problem),) = store.verify()
    assert problem is not None


def test_export_and_import_carry_the_prior(path: Path, tmp_path: Path) -> None:
    source, destination = AdapterStore(path.parents[1]), AdapterStore(tmp_path / "other")
    archive = source.export_set("demo", tmp_path / "demo.tar.gz")
    with tarfile.open(archive) as tar:
        assert {Path(name).name for name in tar.getnames()} == {MANIFEST, TENSORS, CARD, PRIOR}
    for origin in (archive, path):
        entry = destination.import_set(origin)
        assert _facts(entry.path) == _facts(path)
        assert (entry.path / PRIOR).read_bytes() == (path / PRIOR).read_bytes()
        shutil.rmtree(entry.path)


def test_a_prior_that_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    path = publish(tmp_path / "own")
    (path / PRIOR).write_bytes(b"something")
    store = AdapterStore(tmp_path / "other")
    with pytest.raises(WeightsCorrupted, match=r"holds prior\.safetensors, which its manifest does not name"):
        store.import_set(path)
    assert store.list() == []


def test_a_prior_left_out_of_the_copy_is_reported(path: Path, tmp_path: Path) -> None:
    (path / PRIOR).unlink()
    with pytest.raises(WeightsCorrupted, match=r"prior\.safetensors"):
        AdapterStore(tmp_path / "other").import_set(path)


def test_what_is_installed_is_read_without_torch(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from adavae.model.storage.installed import scan; "
        f"found = scan([(Path({str(path.parents[1])!r}), False)], {{}}); "
        "assert [own.manifest.prior is not None for own in found.values()] == [True]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def _facts(path: Path) -> dict[str, object]:
    return asdict(read_manifest(path))
