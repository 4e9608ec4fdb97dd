"""One bad adapter set takes down nobody: whatever stands in its directory, the others are listed and answered.

Every kind of harm is done to sets beside good ones, in a version that would be current, before the service starts and
while it runs.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch

from adavae.model.storage.manifest import CARD, MANIFEST, TENSORS
from adavae.service.commands.adapters import _summary
from adavae.service.latent_service import LatentService
from adavae.service.loading import open_store, open_trial
from adavae.service.metrics import Metrics
from adavae.service.routes.adapters import shape
from adavae.service.settings import Settings
from tests.tiny import PLAIN
from tests.tiny_home import publish_tiny, tiny_settings
from tests.tiny_sets import forge_manifest
from tests.tiny_text import tiny_set

Harm = Callable[[Path], object]
LATER = "2026-09-09T00:00:00+00:00"


def forged(**fields: Any) -> Harm:
    return lambda path: forge_manifest(path, lambda values: values.update(fields))


def forged_config(**fields: Any) -> Harm:
    return lambda path: forge_manifest(path, lambda values: values["config"].update(fields))


def with_manifest(content: bytes) -> Harm:
    return lambda path: (path / MANIFEST).write_bytes(content)


def replaced(name: str, make: Harm) -> Harm:
    def harm(path: Path) -> None:
        (path / name).unlink()
        make(path / name)

    return harm


def with_numbers(number: bytes) -> Harm:
    """Every number of the tensors is this one, in float16; the manifest vouches for it."""

    def harm(path: Path) -> None:
        content = (path / TENSORS).read_bytes()
        begin = 8 + int.from_bytes(content[:8], "little")
        content = content[:begin] + number * ((len(content) - begin) // 2)
        (path / TENSORS).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        forge_manifest(path, lambda values: values["files"][TENSORS].update(sha256=sha256))

    return harm


NESTED = json.loads("[" * 200 + "]" * 200)
HARMS: dict[str, Harm] = {
    "tensors: link to itself": replaced(TENSORS, lambda path: path.symlink_to(path)),
    "tensors: pipe": replaced(TENSORS, os.mkfifo),
    "tensors: link to a device": replaced(TENSORS, lambda path: path.symlink_to("/dev/zero")),
    "tensors: link to a file": replaced(TENSORS, lambda path: path.symlink_to("/etc/hostname")),
    "tensors: directory": replaced(TENSORS, Path.mkdir),
    "tensors: sparse": lambda path: os.truncate(path / TENSORS, 2**33),
    "tensors: nothing": lambda path: os.truncate(path / TENSORS, 0),
    "card: pipe": replaced(CARD, os.mkfifo),
    "card: link to itself": replaced(CARD, lambda path: path.symlink_to(path)),
    "card: directory": replaced(CARD, Path.mkdir),
    "manifest: pipe": replaced(MANIFEST, os.mkfifo),
    "manifest: link to itself": replaced(MANIFEST, lambda path: path.symlink_to(path)),
    "manifest: directory": replaced(MANIFEST, Path.mkdir),
    "manifest: sparse": lambda path: os.truncate(path / MANIFEST, 2**33),
    "manifest: brackets": with_manifest(b"[" * 3000),
    "manifest: number": with_manifest(b"9" * 5000),
    "manifest: no text": with_manifest(b"\xff\xfe\x00"),
    "lone surrogate in metrics": forged(metrics={"\ud800": 1.0}),
    "lone surrogate in training": forged(training={"preset": "\udfff"}),
    "lone surrogate in a label": forged_config(labels=["a", "\ud83d"]),
    "lone surrogate in a digest": forged(backbone_digest="\ud800"),
    "huge number in metrics": forged(metrics={"au": 10**400}),
    "infinite number in metrics": forged(metrics={"au": float("inf")}),
    "nesting in metrics": forged(metrics={"deep": NESTED}),
    "list as metrics": forged(metrics=[1]),
    "list as training": forged(training=["preset"]),
    "number as a date": forged(created_at=7),
    "no date": forged(created_at="zzzz"),
    "date without end": forged(created_at="9" * 100_000),
    "scale of 1e308": forged_config(adapter_scale=1e308),
    "scale of NaN": forged_config(adapter_scale=float("nan")),
    "scale of many digits": forged_config(adapter_scale=10**400),
    "scale of yes": forged_config(adapter_scale=True),
    "size of yes": forged_config(latent_size=True),
    "size of many digits": forged_config(latent_size=10**400),
    "size of another": forged_config(latent_size=1024),
    "labels of a text": forged_config(labels="ab"),
    "labels by the hundred thousand": forged_config(labels=[str(number) for number in range(100_000)]),
    "prior of infinity": forged(fitted_prior={"mean": [1e308] * 4, "std": [1e308] * 4}),
    "prior of many digits": forged(fitted_prior={"mean": [10**400] * 4, "std": [1.0] * 4}),
    "prior of texts": forged(fitted_prior={"mean": ["1"] * 4, "std": ["1"] * 4}),
    "shapes of a text": forged(shapes="no"),
    "shapes of nesting": forged(shapes={"x": NESTED}),
    "shapes of many digits": forged(shapes={"x": [10**400]}),
    "files of a text": forged(files="no"),
    "NaN": with_numbers(b"\x00\x7e"),
    "infinity": with_numbers(b"\x00\x7c"),
    "the largest number": with_numbers(b"\xff\x7b"),
}


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[LatentService]:
    service = LatentService(settings, Metrics())
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


def publish_bad(settings: Settings, name: str, harm: Harm) -> Path:
    """A set that would be current, under the directory that its manifest names, if it has one."""
    made = publish_tiny(settings.data / "made", settings.weights, name, PLAIN, seed=9, created_at=LATER)
    harm(made)
    version = made.name
    if (made / MANIFEST).is_file() and os.path.getsize(made / MANIFEST) < 2**30:
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            version = json.loads((made / MANIFEST).read_bytes())["version"]
    place = settings.own_adapters / name / version
    place.parent.mkdir(parents=True, exist_ok=True)
    made.rename(place)
    return place


async def verdict(service: LatentService) -> str | None:
    """Of readiness, once a trial has come to its end."""
    await service.why_not_ready()
    trial = service._default_trial._trial
    assert trial is not None
    await asyncio.wait_for(trial, 60)
    return service.not_ready_reason or service._default_trial._problem


def public(service: LatentService) -> dict[str, dict[str, Any]]:
    """What GET /adapters sends."""
    return {
        entry["id"]: entry for entry in orjson.loads(orjson.dumps([shape(record) for record in service.adapters()]))
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
async def test_a_bad_version_of_the_default_changes_nothing_but_its_own_entry(
    harm: Harm, tmp_path_factory: pytest.TempPathFactory, installation: Path
) -> None:
    """Some kept the service from starting, some made every list a 500, some every request without a set."""
    settings = tiny_settings(tmp_path_factory.mktemp("home"), weights=installation)
    bad = publish_bad(settings, "prefixed", harm)
    async with running(settings) as service:
        reply = await service.encode(["the food was great"], adapter=None, truncate=False)
        assert reply.adapter.name == "prefixed" and reply.adapter.version != bad.name
        listed = public(service)
        problems = {name: entry["problem"] for name, entry in listed.items() if entry["problem"]}
        assert list(problems) == [f"prefixed@{bad.name}"]
        assert problems[f"prefixed@{bad.name}"].isprintable() and len(problems[f"prefixed@{bad.name}"]) < 1000
        assert len(listed) == 4
        assert await verdict(service) is None
    told = open_store(settings).list(open_trial(settings).check_servable)
    records = [_summary(entry) for entry in told]
    assert {
        f"{record['name']}@{record['version']}": record["problem"] for record in records if record["problem"]
    } == problems


@pytest.mark.asyncio
async def test_bad_versions_that_arrive_while_it_runs_change_nothing_but_their_entries(
    tmp_path: Path, installation: Path
) -> None:
    settings = tiny_settings(tmp_path, weights=installation)
    async with running(settings) as service:
        before = await service.encode(["the food was great"], adapter=None, truncate=False)
        bad = [publish_bad(settings, f"bad-{number}", harm).parent.name for number, harm in enumerate(HARMS.values())]
        good = publish_tiny(settings.own_adapters, settings.weights, "good", PLAIN, seed=5)
        await service._parts.registry.refresh()
        after = await service.encode(["the food was great"], adapter=None, truncate=False)
        assert (after.adapter, after.rows[0].is_cached) == (before.adapter, True)
        listed = public(service)
        assert {entry["name"] for entry in listed.values() if entry["problem"]} == set(bad)
        assert (await service.encode(["x"], adapter="good", truncate=False)).adapter.version == good.name


@pytest.mark.asyncio
async def test_a_directory_that_leads_round_in_a_circle_is_no_set(tmp_path: Path, installation: Path) -> None:
    settings = tiny_settings(tmp_path, weights=installation)
    settings.own_adapters.mkdir(parents=True)
    (settings.own_adapters / "loop").symlink_to("loop")
    (settings.own_adapters / "name").mkdir()
    (settings.own_adapters / "name" / "loop").symlink_to("loop")
    (settings.own_adapters / "file").write_text("x")
    async with running(settings) as service:
        assert all(entry["problem"] is None for entry in public(service).values())


@pytest.mark.asyncio
async def test_readiness_tells_when_the_default_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default set gave 500 to every request, and the service called itself ready."""
    settings = tiny_settings(tmp_path)
    async with running(settings) as service:
        assert await verdict(service) is None
        monkeypatch.setattr(service._default_trial, "_fresh_s", 0.0)
        with monkeypatch.context() as patch:
            patch.setattr(service._parts.engine.vae, "encode", _not_a_number)
            reason = await verdict(service)
            assert reason is not None and "requests that name no adapter set fail" in reason
        assert await verdict(service) is None


def _not_a_number(*_: object) -> object:
    raise RuntimeError("the device is lost")


def test_the_harms_are_harms(tmp_path: Path, installation: Path) -> None:
    """Each changes something of a set that is otherwise good."""
    settings = tiny_settings(tmp_path, weights=installation)
    good = publish_tiny(tmp_path / "good", settings.weights, "prefixed", PLAIN, seed=9, created_at=LATER)
    assert open_trial(settings).try_directory(good)
    torch.testing.assert_close(tiny_set(PLAIN, 9).tensors, replace(tiny_set(PLAIN, 9)).tensors)
    shutil.rmtree(good)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a tiny installation, made once."""
    return tiny_settings(tmp_path_factory.mktemp("installation")).weights
