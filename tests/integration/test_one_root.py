"""Installed, everything lies under ``adavae``, and whatever else is called model, service or tests stays itself."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.compose_file import REPOSITORY

_PROGRAM = """
import sys
import adavae
assert not {"torch", "numpy", "fastapi"} & set(sys.modules), "import adavae is not cheap"
assert adavae.Client("http://127.0.0.1:1") is not None
assert "torch" not in sys.modules
import adavae.model.text_model, adavae.service.main, adavae.service.cli
from adavae.service.settings import Settings
print(adavae.model.__file__)
print(Settings().weights)
import model, service, tests
assert {own.IS_OURS for own in (model, service, tests)} == {True}
"""


@pytest.fixture
def occupied(tmp_path: Path) -> Path:
    """A folder with a model.py, a service/ and a tests/ of its own."""
    folder = tmp_path / "occupied"
    for name in ("model.py", "service/__init__.py", "tests/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("IS_OURS = True\n")
    return folder


def _run(folder: Path, path: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ADAVAE_", "PYTHON"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_installed_here_works_in_any_folder(occupied: Path) -> None:
    done = _run(occupied, "", "-c", _PROGRAM)
    assert done.returncode == 0, done.stderr
    assert _run(occupied, "", "-m", "adavae.service", "--help").returncode == 0


def test_a_wheel_works_in_any_folder(occupied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    (wheel,) = WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path / "made"), versions=["standard"])
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    assert {path.name.split("-")[0] for path in site.iterdir()} == {"adavae"}
    done = _run(occupied, str(site), "-c", _PROGRAM)
    assert done.returncode == 0, done.stderr
    place, weights = done.stdout.splitlines()
    assert Path(place).is_relative_to(site)
    assert (Path(weights) / "backbone" / "model.safetensors").is_file() and Path(weights).is_relative_to(site)
