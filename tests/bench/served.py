"""``adavae serve`` as a separate process, over the bundled backbone and any number of random adapter sets."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from adavae.model.storage.adapter_set import NewAdapterSet, write_adapter_set
from adavae.model.storage.manifest import TENSORS
from adavae.model.storage.pretrained import load_backbone
from adavae.model.training.config import Preset
from tests.bench.subjects import BUNDLED, NUM_SETS, random_set


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready.

    Attributes:
        port: On 127.0.0.1.
        start_s: From the command to readiness.
    """

    port: int
    start_s: float


@contextlib.contextmanager
def served(data: Path, **settings: str) -> Iterator[Server]:
    """Starts the command, waits until it serves, and ends it with SIGTERM."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ADAVAE_")},
        "ADAVAE_PORT": "0",
        "ADAVAE_DATA": str(data),
        "ADAVAE_LOG_LEVEL": "error",
        "ADAVAE_TRAINING": "off",
        **{f"ADAVAE_{name.upper()}": value for name, value in settings.items()},
    }
    began = time.perf_counter()
    command = [sys.executable, "-m", "adavae.service", "serve"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    lines: Queue[str] = Queue()
    assert process.stderr is not None
    threading.Thread(target=lambda: [lines.put(line) for line in process.stderr or ()], daemon=True).start()
    try:
        while (found := re.search(r"http://\S+?:(\d+)", line := lines.get(timeout=120))) is None:
            if process.poll() is not None:
                raise RuntimeError(line)
        yield Server(int(found[1]), time.perf_counter() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def publish_random_sets(data: Path, num: int) -> list[str]:
    """``num`` adapter sets of the language-modelling preset under ``data``; their names.

    Eight differ in their numbers; the others share those files on disk, which the service cannot know.
    """
    pretrained = load_backbone(BUNDLED)
    drawn = [random_set(pretrained, seed, Preset.LANGUAGE_MODELLING) for seed in range(min(num, NUM_SETS))]
    first: dict[int, Path] = {}
    names = []
    for number in range(num):
        adapter_set = drawn[number % len(drawn)]
        name = f"set-{number:04d}"
        path = write_adapter_set(
            data / "adapters",
            NewAdapterSet(
                name=name,
                config=adapter_set.manifest.config,
                tensors=adapter_set.tensors,
                backbone_digest=pretrained.digest,
                tokenizer_digest=pretrained.tokenizer.digest,
                metrics={},
                training={"preset": "language-modelling"},
                created_at="2026-01-01T00:00:00+00:00",
                model_card=f"# {name}\n",
            ),
        )
        tensors = path / TENSORS
        if (original := first.setdefault(number % len(drawn), tensors)) != tensors:
            tensors.unlink()
            os.link(original, tensors)
        names.append(name)
    return names
