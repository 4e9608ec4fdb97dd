"""Memory of a service while large adapter sets come, are used and go, and of importing archives made to do harm.

python -m tests.bench.set_memory

The service has the bundled backbone and sets; "deep" and "wide" are sets that are large in different directions. Each
import runs in a process of its own.
"""

import asyncio
import gzip
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from adavae.model.config import AdapterConfig
from adavae.model.fresh_memory import give_back_memory
from adavae.model.storage.adapter_set import AdapterSet, NewAdapterSet, write_adapter_set
from adavae.model.storage.manifest import CARD, MANIFEST, TENSORS
from adavae.service.latent_service import LatentService
from adavae.service.metrics import Metrics
from adavae.service.settings import Settings
from tests.bench.memory import resident_mib
from tests.bench.subjects import random_set
from tests.tiny_sets import publish

LARGE = {
    "deep": {"latent_size": 1024, "latent_heads": 8, "latent_positions": 16, "adapter_size": 64},
    "wide": {"latent_size": 32, "adapter_size": 1024},
}
BOMB_BYTES = 2**29
_PAUSE_S, _DEADLINE_S = 0.05, 60.0
_IMPORT = """
import sys
from pathlib import Path
from adavae.model.errors import AdaVAEError
from adavae.model.storage.adapter_store import AdapterStore
def kib(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))
open("/proc/self/clear_refs", "w").write("5")  # forgets the peak so far
before = kib("VmRSS")
try:
    AdapterStore(Path(sys.argv[1])).import_set(Path(sys.argv[2]))
    outcome = "imported"
except AdaVAEError:
    outcome = "refused"
print((kib("VmHWM") - before) // 1024, outcome)
"""


async def service_memory(home: Path) -> dict[str, float]:
    """Resident MiB after each thing that happens."""
    service = LatentService(Settings(data=home, refresh_s=0.2, log_level="error"), Metrics())
    await service.start()
    try:
        for name in ("yelp", "captions", "trec"):
            await service.encode(["hello there"], adapter=name, truncate=False)
        seen = {"three bundled sets in use": resident_mib()}
        for name, sizes in LARGE.items():
            await asyncio.to_thread(_publish, service, name, AdapterConfig(**sizes))  # type: ignore[arg-type]  # sizes
            give_back_memory()
            await service._parts.registry.refresh()
            await service.encode(["hello there"], adapter=name, truncate=False)
            seen[f"{name} in use"] = resident_mib()
        for name in LARGE:
            await service.delete_adapter(name)
            await _settled(service)
            seen[f"{name} deleted"] = resident_mib()
        return seen
    finally:
        await service.stop()


def _publish(service: LatentService, name: str, config: AdapterConfig) -> None:
    source = _set_of(service, config)
    write_adapter_set(
        service.settings.own_adapters,
        NewAdapterSet(
            name=name,
            config=config,
            tensors=source.tensors,
            backbone_digest=source.manifest.backbone_digest,
            tokenizer_digest=source.manifest.tokenizer_digest,
            metrics={},
            training={},
            created_at=source.manifest.created_at,
            model_card=f"# {name}\n",
        ),
    )


def _set_of(service: LatentService, config: AdapterConfig) -> AdapterSet:
    return random_set(service._parts.pretrained, seed=1, config=config)


async def _settled(service: LatentService) -> None:
    """Until the bank has taken notice."""
    await asyncio.sleep(_PAUSE_S)
    async with asyncio.timeout(_DEADLINE_S):
        await service._parts.registry.refresh()
        while service._parts.registry._room.is_being_fitted:
            await asyncio.sleep(_PAUSE_S)


def imports(home: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Each source with its size, the peak over what the process had before, and the outcome."""
    good_set = publish(home / "seeds")
    for kind, source in _sources(home, good_set):
        command = [sys.executable, "-c", _IMPORT, str(home / "own"), str(source)]
        peak, outcome = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        stored = source / TENSORS if source.is_dir() else source
        size = stored.stat().st_size if source.is_file() else stored.stat().st_blocks * 512
        yield kind, {"kib_on_disk": size // 1024, "peak_mib": int(peak), "outcome": outcome}
        if source.is_file():
            source.unlink()


def _sources(home: Path, source: Path) -> Iterator[tuple[str, Path]]:
    yield "a good set", _archive(home / "good.tar.gz", source, None)
    for kind, letter in (("extended header", tarfile.XHDTYPE), ("long name", tarfile.GNUTYPE_LONGNAME)):
        bomb = tarfile.TarInfo("bomb")
        bomb.size, bomb.type = BOMB_BYTES, letter
        yield f"{kind} of {BOMB_BYTES // 2**20} MiB", _archive(home / "bomb.tar.gz", source, bomb)
    bomb = tarfile.TarInfo(f"demo/1/{TENSORS}")
    bomb.size = BOMB_BYTES
    yield f"tensors of {BOMB_BYTES // 2**20} MiB", _archive(home / "bomb.tar.gz", source, bomb)
    os.truncate(source / TENSORS, 5 * 2**30)
    yield "a directory with a sparse file of 5 GiB", source


def _archive(path: Path, source: Path, first: tarfile.TarInfo | None) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as packed:
        if first is not None:
            packed.write(first.tobuf(tarfile.USTAR_FORMAT))
            for _ in range(first.size // 2**20):
                packed.write(bytes(2**20))
        for name in (MANIFEST, TENSORS, CARD):
            content = (source / name).read_bytes()
            info = tarfile.TarInfo(f"demo/1/{name}")
            info.size = len(content)
            packed.write(info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512))
        packed.write(bytes(1024))
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        sys.stdout.write(json.dumps({"service_mib": asyncio.run(service_memory(home / "data"))}, indent=1) + "\n")
        sys.stdout.write(json.dumps({"imports": dict(imports(home))}, indent=1) + "\n")


if __name__ == "__main__":
    main()
