"""Archives and directories of adapter sets that do harm to whoever imports them, and to the service if they get in."""

import gzip
import os
import random
import shutil
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from adavae.model.errors import AdaVAEError
from adavae.model.storage.manifest import CARD, MANIFEST, TENSORS
from adavae.service.loading import open_store, open_trial
from adavae.service.settings import Settings
from tests.bench.abuse.process_use import MIB, ProcessUse
from tests.bench.abuse.stage import Stage
from tests.bench.abuse.tries import Kind, Try
from tests.bench.abuse.verdict import complaint, first
from tests.integration.test_bad_neighbours import HARMS
from tests.tiny_home import publish_tiny
from tests.tiny_text import NAMED
from tests.unit.model.storage.test_set_archive import HOSTILE, member, whole
from tests.unit.service.jobs.hostile import PLANTS

_MOST_MIB = 64  # that an import may take beyond what it has with a good set


def tries(stage: Stage, draw: random.Random) -> Generator[Try, None, None]:
    """One import after the other, all in one process whose memory is watched."""
    with ProcessPoolExecutor(1, get_context("spawn")) as importer:
        good = stage.home / "good.tar.gz"
        good.write_bytes(gzip.compress(whole(_set(stage, "good", 10))))
        for _ in range(2):  # what a good one takes is taken before
            importer.submit(imported, stage.settings, good).result()
        for number in range(10**9):
            told, source = _hostile(stage, draw, number)
            yield Try(told, lambda source=source: _suffer(stage, importer, source))  # type: ignore[misc]


def _suffer(stage: Stage, importer: ProcessPoolExecutor, source: Path) -> str | None:
    """Imports it; what got in is used by the service, and taken away again."""
    reference, refusal, grown = importer.submit(imported, stage.settings, source).result(120)
    too_much = f"the import took {grown / MIB:.0f} MiB, the limit is {_MOST_MIB}" if grown > _MOST_MIB * MIB else None
    left = [path.name for path in stage.settings.own_adapters.glob(".*") if not path.name.startswith(".publications")]
    try:
        if reference is None:
            says_nothing = None if str(source) in refusal or len(refusal) > 40 else f"refused with {refusal!r}"
            return first(too_much, says_nothing, f"left behind: {left}" if left else None)
        reply = stage.client("admin").post("/encode", json={"text": "x", "adapter": reference})
        return first(too_much, complaint(reply), complaint(stage.client("admin").get("/adapters")))
    finally:
        shutil.rmtree(source) if source.is_dir() and not source.is_symlink() else source.unlink(missing_ok=True)
        if reference is not None:
            shutil.rmtree(stage.settings.own_adapters / reference.partition("@")[0])


def imported(settings: Settings, source: Path) -> tuple[str | None, str, int]:
    """In a process of its own: what got in, or why nothing did; bytes by which the process grew meanwhile."""
    use = ProcessUse(os.getpid())
    before, reference, refusal = use.forget_peak(), None, ""
    trial = _trial(settings.model_dump_json())
    try:
        entry = open_store(settings).import_set(source, accepting=trial.accept, trying=trial.try_directory)
        reference = entry.reference
    except AdaVAEError as exc:
        refusal = str(exc)
    return reference, refusal, use.peak_bytes() - before


@cache
def _trial(settings: str):  # type: ignore[no-untyped-def]
    return open_trial(Settings.model_validate_json(settings))


def _hostile(stage: Stage, draw: random.Random, number: int) -> tuple[str, Path]:
    path = _set(stage, f"bad-{number}", draw.randrange(10, 10**6))
    archive = stage.home / f"bad-{number}.tar.gz"
    match draw.randrange(6):
        case 0 | 1:
            told = draw.choice(list(HOSTILE))
            archive.write_bytes(gzip.compress(HOSTILE[told][0](path), 1))
        case 2:
            told, content = _garbled(draw, whole(path))
            archive.write_bytes(gzip.compress(content, 1))
        case 3:
            told, content = _garbled(draw, gzip.compress(whole(path)))
            archive.write_bytes(content)
            told = f"packed, {told}"
        case 4:
            told = draw.choice(list(HARMS))
            HARMS[told](path)
            return f"directory, {told}", path
        case _:
            plant, name = draw.choice(list(PLANTS)), draw.choice((MANIFEST, TENSORS, CARD, ""))
            place = path / name if name else archive
            if name:
                place.unlink()
            PLANTS[plant](place)
            return f"{name or 'archive'} is {plant}", path if name else archive
    shutil.rmtree(path)
    return told, archive


def _garbled(draw: random.Random, content: bytes) -> tuple[str, bytes]:
    """Something of any archive, changed."""
    place = draw.randrange(len(content))
    changed = bytearray(content)
    for _ in range(draw.randrange(1, 20)):
        changed[draw.randrange(draw.choice((1024, len(content))))] = draw.randrange(256)
    return draw.choice(
        (
            (f"cut off at {place}", content[:place]),
            ("bytes changed", bytes(changed)),
            ("twice", content + content),
            ("a block of zeros within", content[:place] + bytes(512) + content[place:]),
            ("another member in front", member("../../x", b"y") + content),
            ("random bytes", draw.randbytes(5000)),
        )
    )


def _set(stage: Stage, name: str, seed: int) -> Path:
    config = NAMED[random.Random(seed).choice(list(NAMED))]
    return publish_tiny(stage.home / "elsewhere", stage.settings.weights, name, config, seed)


ARCHIVES = Kind(name="archives", told="hostile archives, imported", tries=tries, num_tries=70, most_mib=200)
