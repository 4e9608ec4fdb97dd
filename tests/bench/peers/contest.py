"""All peers in turn, each in its process: ``adavae bench --peers``.

While one works, the others are stopped (SIGSTOP), so that no thread of theirs spins beside it. A figure is ours over
the peer's, of the same round; a peer that cannot be installed or does not start is named with the reason.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from adavae.model.storage.pretrained import save_backbone
from tests.bench.peers.environments import NotInstalled, python_of
from tests.bench.side_by_side import Figure, compared
from tests.bench.subjects import Subject

_HERE = Path(__file__).parent
_NUM_TEXTS = 64
_OURS = "ours"
_UNITS = {"decode": "tokens", "encode": "texts", "embed": "texts"}


@dataclass(frozen=True, slots=True)
class Peer:
    """An engine in one variant.

    Attributes:
        script: What runs it, a file beside this one.
        environment: Its environment; None for the checkout's own.
        is_goal: Whether ours is to be half as fast again.
    """

    script: str
    variant: str
    environment: str | None = None
    is_goal: bool = False

    @property
    def name(self) -> str:
        return f"{self.script.removeprefix('with_')} {self.variant}"


PEERS = (
    Peer("with_transformers", "eager"),
    Peer("with_transformers", "compile"),
    Peer("with_ctranslate2", "float32", "ctranslate2"),
    Peer("with_ctranslate2", "int8", "ctranslate2", is_goal=True),
    Peer("with_llamacpp", "F16", "llamacpp"),
    Peer("with_llamacpp", "Q8_0", "llamacpp", is_goal=True),
    Peer("with_llamacpp", "Q8_0-plain", "llamacpp", is_goal=True),
    Peer("with_onnxruntime", "float32", "onnxruntime", is_goal=True),
    Peer("with_onnxruntime", "int8", "onnxruntime", is_goal=True),
    Peer("with_openvino", "default", "openvino", is_goal=True),
    Peer("with_openvino", "float32", "openvino"),
    Peer("with_minilm", "sentence_transformers", "sentence_transformers"),
    Peer("with_minilm", "infinity", "infinity"),
)


class DoesNotStart(Exception):
    """Why a peer gives no figures."""


class Contestant:
    """A peer's process, stopped unless it works."""

    def __init__(self, peer: Peer, folder: Path, environments: Path, threads: int) -> None:
        """Starts it and waits until it is ready; raises NotInstalled or DoesNotStart."""
        python = sys.executable if peer.environment is None else str(python_of(environments, peer.environment))
        self._errors: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, str(_HERE / f"{peer.script}.py"), str(folder), str(threads), peer.variant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"},
        )
        self.told = self._reply()
        self.ways: list[str] = self.told["ways"]
        self._process.send_signal(signal.SIGSTOP)

    def rate(self, way: str) -> float:
        """Tokens or texts a second of one piece of work."""
        self._process.send_signal(signal.SIGCONT)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(way) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise DoesNotStart("it ended in an earlier piece of work") from None
        done, seconds = self._reply()
        self._process.send_signal(signal.SIGSTOP)
        return float(done / seconds)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _reply(self):  # type: ignore[no-untyped-def]
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        last = [line.strip() for line in self._errors if line.strip()]
        raise DoesNotStart(last[-1][-300:] if last else f"it ended with exit status {self._process.returncode}")


def peer_figures(
    shapes: Sequence[str], rounds: int, environments: Path, threads: int, only: str | None = None
) -> Iterator[Figure | str]:
    """Figures, and a line for each peer that has none; ``only`` those whose name contains it."""
    peers = [peer for peer in PEERS if only is None or only in peer.name]
    with tempfile.TemporaryDirectory() as made:
        for shape in shapes:
            folder = Path(made) / shape
            write_model(folder, shape)
            yield from _contest(peers, folder, rounds, environments, threads)


def write_model(folder: Path, shape: str) -> None:
    """What every peer reads: the checkpoint, texts as token ids, sentences, and how many blocks encode."""
    subject = Subject.of(shape, 1)  # type: ignore[arg-type]
    save_backbone(folder, subject.pretrained.backbone, subject.pretrained.tokenizer)
    (folder / "texts.json").write_text(json.dumps(subject.texts(_NUM_TEXTS)), encoding="utf-8")
    (folder / "sentences.json").write_text(json.dumps(_sentences()), encoding="utf-8")
    (folder / "depth").write_text(str(subject.sets[0].manifest.config.encoder_layers), encoding="utf-8")
    words = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    start = {number: word for word, number in words.items()}[subject.pretrained.tokenizer.eos_token_id]
    (folder / "start_token").write_text(start, encoding="utf-8")


def _sentences() -> list[str]:
    """The sentences of the project's own page."""
    page = (_HERE.parents[2] / "README.md").read_text(encoding="utf-8")
    prose = " ".join(line for line in page.splitlines() if line[:1].isalpha())
    return [found for found in re.split(r"(?<=[.:;])\s+", prose) if len(found) > 20]


def _contest(
    peers: Sequence[Peer], folder: Path, rounds: int, environments: Path, threads: int
) -> Iterator[Figure | str]:
    contestants: dict[str, Contestant] = {}
    try:
        for peer in (Peer(_OURS, "float16"), Peer(_OURS, "int8"), *peers):
            try:
                contestants[peer.name] = Contestant(peer, folder, environments, threads)
            except (NotInstalled, DoesNotStart) as exc:
                yield f"{peer.name} ({folder.name}): not measured: {exc}"
        goals = {peer.name for peer in peers if peer.is_goal}
        for way in contestants[f"{_OURS} int8"].ways:
            yield from _figures(way, contestants, folder.name, rounds, goals)
    finally:
        for contestant in contestants.values():
            contestant.close()


def _figures(
    way: str, contestants: Mapping[str, Contestant], shape: str, rounds: int, goals: set[str]
) -> Iterator[Figure | str]:
    able = {name: contestant for name, contestant in contestants.items() if way in contestant.ways}
    measured: dict[str, list[float]] = {name: [] for name in able}
    for number in range(rounds + 1):
        for name in list(able):
            try:
                rate = able[name].rate(way)
            except DoesNotStart as exc:
                yield f"{name}, {way} ({shape}): not measured: {exc}"
                del able[name], measured[name]
                continue
            if number:  # the first round warms up
                measured[name].append(rate)
    unit = _UNITS[way.split()[0]]
    for name in measured:
        for ours in (f"{_OURS} int8", f"{_OURS} float16"):
            if name.startswith(_OURS) and (name, ours) != (f"{_OURS} float16", f"{_OURS} int8"):
                continue
            yield compared(
                f"{way}, {unit}/s ({shape}): {ours} over {name}",
                {ours: measured[ours], name: measured[name]},
                ours,
                name,
                at_least=1.5 if name in goals and ours.endswith("int8") else None,
            )
