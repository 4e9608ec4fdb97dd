"""What is read of a backbone without torch is what torch would give."""

import subprocess
import sys
from pathlib import Path

import pytest

from adavae.model.errors import BackboneNotFound, ConfigError, WeightsCorrupted
from adavae.model.storage.pretrained import load_backbone, save_backbone
from adavae.service.jobs.backbone_description import describe_backbone
from adavae.service.settings import Settings
from tests.tiny_text import tiny_pretrained


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    pretrained = tiny_pretrained()
    save_backbone(tmp_path / "backbone", pretrained.backbone, pretrained.tokenizer)
    return Settings(weights=tmp_path, data=tmp_path / "data")


def test_the_description_is_that_of_the_loaded_backbone(settings: Settings) -> None:
    loaded, described = load_backbone(settings.backbone_source), describe_backbone(settings)
    assert (described.config, described.digest) == (loaded.backbone.config, loaded.digest)


def test_a_changed_weight_changes_the_digest(settings: Settings) -> None:
    path, before = settings.weights / "backbone" / "model.safetensors", describe_backbone(settings)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert describe_backbone(settings).digest != before.digest


def test_what_is_missing_is_named(settings: Settings) -> None:
    (settings.weights / "backbone" / "model.safetensors").unlink()
    with pytest.raises(BackboneNotFound, match=r"has no model\.safetensors: put a checkpoint"):
        describe_backbone(settings)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_file_is_reported(settings: Settings, content: bytes) -> None:
    (settings.weights / "backbone" / "config.json").write_bytes(content)
    with pytest.raises((WeightsCorrupted, ConfigError)):
        describe_backbone(settings)


def test_a_file_cut_short_is_reported(settings: Settings) -> None:
    path = settings.weights / "backbone" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsCorrupted, match="is damaged"):
        describe_backbone(settings)


def test_a_worker_needs_no_torch() -> None:
    """It would cost a few hundred megabytes beside the process that trains."""
    modules = "adavae.service.jobs.worker.worker, adavae.service.jobs.backbone_description"
    program = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
