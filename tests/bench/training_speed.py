"""Tokens a second of a training step: ours of each preset and of ``pretrain``, and of transformers and peft.

python -m tests.bench.training_speed [--rounds 5] [--windows 128] [--folder build/peers]

All take steps in turn on the same batches, peers in processes of their own that are stopped meanwhile. A token is one
that is predicted. Ours of a preset reads every text twice, by encoder and decoder, and has a latent; transformers' step
reads it once. ``our_share_of_them`` is the products of a step, counted from the shapes of the model without padding and
optimizer, over what this machine multiplies in the same rounds: in bfloat16 where training does, else in float32.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from adavae.model.config import AdapterConfig, BackboneConfig
from adavae.model.storage.pretrained import PretrainedBackbone, load_backbone, save_backbone
from adavae.model.training.config import Preset, preset_config
from adavae.model.training.language_model import attention_on
from adavae.model.training.precision import multiplies_bfloat16
from adavae.model.training.pretrain_config import PretrainConfig
from adavae.model.training.pretrain_run import PretrainRun
from adavae.model.training.tokenized_texts import TokenizedTexts
from adavae.model.training.training_run import TrainingRun
from adavae.service.settings import keep_few_kernels, let_threads_wait_briefly
from tests.bench.peers.contest import Contestant, DoesNotStart, Peer
from tests.bench.peers.environments import FOLDER, NotInstalled
from tests.bench.side_by_side import compared

BACKBONE = Path(__file__).parents[2] / "weights" / "backbone"
_STEPS_A_ROUND = 3  # of a preset; the peers and pretrain take one
_NUM_BATCHES = 24  # that the peers are given
_PRETRAIN = "pretrain"
_SIDE = 2048  # of the matrices by which the machine is measured
_MACHINE = "products of large matrices"
_PEERS = {
    "transformers, all weights": Peer("training_with_transformers", "full"),
    "peft, LoRA": Peer("training_with_transformers", "lora", "peft"),
}
Rate = Callable[[], float]


def made_up_texts(num: int, vocab_size: int) -> TokenizedTexts:
    """Random token ids with the lengths of review sentences."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 18, (num,), generator=generator).tolist()
    rows = [torch.randint(1, vocab_size, (length,), generator=generator).tolist() for length in lengths]
    return TokenizedTexts(rows, None, "made up")


def operations_of_set(backbone: BackboneConfig, adapter: AdapterConfig, tokens_a_text: float) -> float:
    """Multiplications and additions of an adapter set's step for each target token, in matrices with weights.

    Forward, the gradients of what lies between the loss and the first trained part, and those of trained weights.

    Args:
        backbone: Its shape.
        adapter: The set's.
        tokens_a_text: Target tokens of a text, its end included; the encoder reads one less.
    """
    C, V, Z = backbone.n_embd, backbone.vocab_size, adapter.latent_size
    M, K = adapter.latent_positions, adapter.latent_heads
    block, branch = 4 * C * C + 2 * C * backbone.n_inner, 2 * C * adapter.adapter_size

    def of_blocks(num_layers: int) -> float:
        return (2 * num_layers - 1) * (block + branch) + num_layers * branch

    read_share = (tokens_a_text - 1) / tokens_a_text
    of_text = 3 * (2 * K * C * Z + Z * M * C + backbone.n_layer * M * C * 2 * C)
    decoder = of_blocks(backbone.n_layer) + 2 * C * V
    return 2 * (read_share * of_blocks(adapter.encoder_layers) + decoder + of_text / tokens_a_text)


def operations_of_language_model(backbone: BackboneConfig) -> float:
    """The same of a step that trains every weight of one backbone."""
    C = backbone.n_embd
    block = 4 * C * C + 2 * C * backbone.n_inner
    return 2 * 3 * (backbone.n_layer * block + C * backbone.vocab_size)


class _PresetSteps:
    """Steps of a preset whose decoder trains from the first one on."""

    def __init__(
        self, preset: Preset, pretrained: PretrainedBackbone, texts: TokenizedTexts, made: Path, *, is_full: bool
    ) -> None:
        config = preset_config(preset, pretrained.backbone.config)
        config = replace(config, stage_one_share=0.0, form_share=0.0, is_full_fine_tuning=is_full)
        self.run = TrainingRun(config, pretrained.backbone, texts, texts, made)

    def take(self) -> int:
        """One step; returns its target tokens."""
        return self.run.take_step()[0].num_tokens

    def batches(self) -> list[list[list[int]]]:
        """The texts of the first steps."""
        rows = (self.run.batches.rows_at(step) for step in range(_NUM_BATCHES))
        return [[list(self.run.texts.token_ids[row]) for row in batch] for batch in rows]

    def operations(self) -> float:
        """Of one target token."""
        lengths = self.run.lengths
        backbone, adapter = self.run.vae.backbone.config, self.run.config.adapter
        return operations_of_set(backbone, adapter, 1 + sum(lengths) / len(lengths))


class _PretrainSteps:
    """Steps of ``pretrain`` over the texts as one stream."""

    def __init__(self, pretrained: PretrainedBackbone, texts: TokenizedTexts, made: Path, windows: int) -> None:
        end = pretrained.tokenizer.eos_token_id
        tokens = np.array([token for row in texts.token_ids for token in (end, *row)], np.int32)
        config = PretrainConfig(batch_size=windows, long_share=0.0, epochs=100.0)
        backbone = load_backbone(BACKBONE).backbone.requires_grad_(True).train()
        self.run = PretrainRun(config, backbone, pretrained.tokenizer, tokens, {}, made)

    def take(self) -> int:
        return self.run.take_step()[1]

    def batches(self) -> list[list[list[int]]]:
        config, stream = self.run.config, self.run.stream
        windows = (stream.windows_at(step, config.window, config.batch_size) for step in range(_NUM_BATCHES))
        return [batch[:, 1:-1].tolist() for batch in windows]  # the peer adds end-of-text at both ends

    def operations(self) -> float:
        return operations_of_language_model(self.run.backbone.config)


def measure(kinds: Sequence[str], rounds: int, environments: Path, windows: int) -> Iterator[dict[str, object]]:
    """Lines of the report, some for each preset of ``kinds`` and for ``pretrain``, whose step has ``windows``."""
    pretrained = load_backbone(BACKBONE)
    texts = made_up_texts(4096, pretrained.backbone.config.vocab_size)
    with tempfile.TemporaryDirectory() as folder, attention_on(torch.device("cpu")):
        made = Path(folder)
        save_backbone(made, pretrained.backbone, pretrained.tokenizer)
        for kind in kinds:
            yield from _measured_kind(kind, pretrained, texts, made, rounds, environments, windows)


def _measured_kind(
    kind: str,
    pretrained: PretrainedBackbone,
    texts: TokenizedTexts,
    made: Path,
    rounds: int,
    environments: Path,
    windows: int,
) -> Iterator[dict[str, object]]:
    ours: _PresetSteps | _PretrainSteps
    if kind == _PRETRAIN:
        ours = _PretrainSteps(pretrained, texts, made, windows)
        ways: dict[str, Rate] = {"ours": partial(_timed, ours.take, 1)}
    else:
        ours = _PresetSteps(Preset(kind), pretrained, texts, made, is_full=False)
        full = _PresetSteps(Preset(kind), pretrained, texts, made, is_full=True)
        ways = {
            "ours": partial(_timed, ours.take, _STEPS_A_ROUND),
            "ours, all weights of both": partial(_timed, full.take, _STEPS_A_ROUND),
        }
    (made / "batches.json").write_text(json.dumps({kind: ours.batches()}), encoding="utf-8")
    with ExitStack() as stack:
        for name, peer in _PEERS.items():
            try:
                contestant = Contestant(peer, made, environments, torch.get_num_threads())
            except (NotInstalled, DoesNotStart) as exc:
                yield {"name": f"{kind}: {name}", "not_measured": str(exc)}
                continue
            stack.callback(contestant.close)
            ways[name] = partial(contestant.rate, kind)
        yield from _lines(kind, _rates(ways | {_MACHINE: _machine}, rounds), ours.operations())


def _rates(ways: Mapping[str, Rate], rounds: int) -> dict[str, list[float]]:
    """Each way's rate in each round, all in turn; one round warms up."""
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, rate in ways.items():
            value = rate()
            if number:
                measured[name].append(value)
    return measured


def _timed(take: Callable[[], int], num_steps: int) -> float:
    """Tokens a second over some steps."""
    started = time.perf_counter()
    done = sum(take() for _ in range(num_steps))
    return done / (time.perf_counter() - started)


def _machine() -> float:
    """Operations a second in a product of large matrices."""
    dtype = torch.bfloat16 if multiplies_bfloat16(torch.device("cpu")) else torch.float32
    left, right = (torch.randn(_SIDE, _SIDE, dtype=dtype) for _ in "ab")
    started = time.perf_counter()
    for _ in range(10):
        torch.mm(left, right)
    return 10 * 2 * _SIDE**3 / (time.perf_counter() - started)


def _lines(kind: str, measured: dict[str, list[float]], operations: float) -> Iterator[dict[str, object]]:
    machine = measured.pop(_MACHINE)
    shares = [operations * rate / most for rate, most in zip(measured["ours"], machine, strict=True)]
    yield {
        "name": f"{kind}: tokens a second",
        **{name: round(statistics.median(values)) for name, values in measured.items()},
        "teraflops_of_large_matrices": round(statistics.median(machine) / 1e12, 2),
        "our_share_of_them": [round(share, 3) for share in (statistics.median(shares), min(shares), max(shares))],
    }
    for name in measured:
        if name != "ours":
            yield asdict(compared(f"{kind}: ours over {name}", measured, "ours", name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=[*map(str, Preset), _PRETRAIN], help="One alone.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", type=int, default=PretrainConfig().batch_size, help="Of a step of pretrain.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="Where the peers' environments lie.")
    options = parser.parse_args()
    keep_few_kernels()
    let_threads_wait_briefly()
    kinds = [options.kind] if options.kind else [*map(str, Preset), _PRETRAIN]
    for line in measure(kinds, options.rounds, options.folder, options.windows):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
