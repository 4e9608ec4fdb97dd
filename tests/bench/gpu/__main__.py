"""The GPU path in one short run: right first, then fast.

    python -m tests.bench.gpu --seconds 140 --output gpu.json

Needs torch, numpy, safetensors and tokenizers; takes Triton and transformers where they are. What fails is written
down with its traceback and the rest goes on; the file is written anew after every part. ``--smoke --device cpu`` runs
every line on a CPU, in small.
"""

import argparse
import json
import platform
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from adavae.model.adavae import AdaVAE
from adavae.model.config import GPT2_124M, BackboneConfig
from adavae.model.decoding.decoding import Decoding
from adavae.model.gpu.device_kernels import kernels_for
from adavae.model.gpu.kernels import Kernels, PlainKernels
from adavae.model.gpu.layout import PackedTexts
from adavae.model.gpu.packed_encoder import encode_hidden_packed
from tests.bench.gpu import correctness, speed
from tests.bench.gpu.budget import Budget
from tests.bench.gpu.models import SMALL, WEIGHTS, Bundled, moved, random_rows, random_vae

SHAPES = {
    "124m": GPT2_124M,
    "bundled": BackboneConfig(vocab_size=12288, n_positions=256, n_embd=448, n_layer=8, n_head=7, n_inner=1792),
    "small": SMALL,
}
_MANY = ("many sets", "many sets of twice the size")
_LEAST_S = 2.0  # with less left a part is not begun


@dataclass
class Run:
    """One run of all parts, and what it has found."""

    budget: Budget
    kernels: Kernels
    output: Path | None
    has_graphs: bool
    mixes: int
    rows: int
    only: tuple[str, ...] = ()
    found: dict[str, Any] = field(default_factory=dict)
    models: dict[str, AdaVAE] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return self.budget.device

    def part(self, name: str, run: Callable[[], Any]) -> None:
        """Runs one part; what it returns, or how it failed, is written down."""
        if self.only and not name.startswith(("floors", *self.only)):
            return
        if self.budget.left_s < _LEAST_S:
            self.found[name] = {"skipped": "no time left"}
        else:
            began = self.budget.spent_s
            try:
                result = run()
                self.budget.wait()
            except Exception:
                result = {"failed": traceback.format_exc()}
            self.found[name] = {"seconds": round(self.budget.spent_s - began, 2), "result": result}
        _write(f"{self.budget.spent_s:6.1f} s  {name}: {_outcome(self.found[name])}")
        if self.output is not None:
            self.output.write_text(json.dumps(self.found, indent=1, default=str) + "\n", encoding="utf-8")

    def model(self, name: str, make: Callable[[], AdaVAE]) -> AdaVAE:
        if name not in self.models:
            self.models[name] = make()
        return self.models[name]


def machine(device: torch.device) -> dict[str, Any]:
    found = {"torch": torch.__version__, "python": platform.python_version(), "device": str(device)}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"gpu": properties.name, "cuda": torch.version.cuda, "processors": properties.multi_processor_count}
    return found


def run_all(run: Run, seconds: float, shapes: Sequence[str]) -> None:
    """Every part, the most telling first; shares are of the whole time."""
    run.found["machine"] = machine(run.device) | {"kernels": type(run.kernels).__name__}
    run.part("kernels", lambda: _checked(correctness.kernel_checks(run.kernels, run.device)))
    run.part("floors", lambda: speed.floors(run.budget, 0.02 * seconds))
    bundled = _bundled(run)
    run.part("model", lambda: _checked(correctness.model_checks(bundled, run.kernels, run.device)))
    for dtype in correctness.DTYPES:
        vae = moved(bundled.vae, dtype, run.device)
        share = 1.0 if dtype == torch.bfloat16 else 0.25  # what serves is tried the most
        mixes, most_s = max(1, int(share * run.mixes)), 0.15 * share * seconds
        name = correctness.short(dtype)
        run.part(
            f"graphs {name}",
            lambda vae=vae, mixes=mixes, most_s=most_s: _checked(_graphs(run, vae, mixes, most_s)),  # type: ignore[misc]
        )
        run.part(
            f"sampling {name}",
            lambda vae=vae: _checked(correctness.sampling_checks(vae, run.kernels, has_graphs=run.has_graphs)),  # type: ignore[misc]
        )
    floors = run.found["floors"].get("result", {})
    rate, bandwidth = 1e12 * floors.get("bf16_tflops", 1.0), 1e9 * floors.get("copy_gb_per_s", 1.0)
    for number, shape in enumerate(shapes):
        _measure(run, shape, SHAPES[shape], (1.0 if number == 0 else 0.5) * seconds, rate, bandwidth)
    run.part("transformers", lambda: _checked(correctness.transformers_checks(bundled, run.device)))
    for name, vae in [*run.models.items()][
        :2
    ]:  # last: a library that refuses to be captured may leave the device unusable
        run.part(f"adapter ways {name}", lambda vae=vae: _ways(run, vae, seconds))  # type: ignore[misc]


def _measure(run: Run, shape: str, config: BackboneConfig, seconds: float, rate: float, bandwidth: float) -> None:
    num_sets = 4 if run.budget.is_smoke else 64
    depth = max(1, round(config.n_layer * 2 / 3))
    narrow = max(1, 128 * config.n_embd // 768)

    def made(adapter_size: int) -> AdaVAE:
        sets = speed.sets_of(num_sets, adapter_size, depth)
        return run.model(f"{shape} {adapter_size}", lambda: random_vae(config, sets, torch.bfloat16, run.device))

    has, kernels, budget = run.has_graphs, run.kernels, run.budget
    run.part(f"decode {shape}", lambda: speed.decoding(made(narrow), kernels, budget, 0.08 * seconds, has_graphs=has))
    run.part(f"encode {shape}", lambda: speed.encoding(made(narrow), kernels, budget, 0.06 * seconds, rate))
    run.part(
        f"many sets {shape}",
        lambda: speed.many_sets(made(narrow), kernels, budget, 0.03 * seconds, bandwidth, has_graphs=has),
    )
    if len(run.models) < 2:  # of the first shape alone
        run.part(
            f"sampling cost {shape}",
            lambda: speed.sampling(made(narrow), kernels, budget, 0.02 * seconds, has_graphs=has),
        )
        run.part(f"waits {shape}", lambda: speed.synchronisations(made(narrow), kernels, budget, has_graphs=has))
        run.part(f"where the time goes {shape}", lambda: _where(run, made(narrow)))
        run.part(
            f"many sets of twice the size {shape}",
            lambda: speed.many_sets(made(2 * narrow), kernels, budget, 0.03 * seconds, bandwidth, has_graphs=has),
        )


def _ways(run: Run, vae: AdaVAE, seconds: float) -> Any:
    return speed.adapter_ways(vae, run.kernels, run.budget, 0.05 * seconds, has_graphs=run.has_graphs)


def _where(run: Run, vae: AdaVAE) -> Any:
    num_sets, ways = vae.bank.shape.num_slots, {}
    for name, slots in (("one row", [0]), ("one set", [0] * num_sets), ("many sets", list(range(num_sets)))):
        writer = speed.Writer(
            vae, run.kernels, slots, has_graphs=run.has_graphs, decoding=Decoding(max_tokens=64), tokens=64
        )
        ways[f"step, {name}"] = writer.step
    rows = random_rows(8 if run.budget.is_smoke else 512, vae.backbone.config)
    texts = PackedTexts.of(rows, [0] * len(rows), run.device)
    depths = [vae.bank.shape.encoder_layers] * len(rows)
    ways["encode"] = lambda: encode_hidden_packed(vae, run.kernels, texts, depths)
    return speed.where_time_goes(ways, run.budget)


def _graphs(run: Run, vae: AdaVAE, mixes: int, most_s: float) -> Iterator[correctness.Check]:
    return correctness.graph_checks(vae, run.kernels, mixes, has_graphs=run.has_graphs, most_s=most_s)


def _bundled(run: Run) -> Bundled:
    if run.budget.is_smoke:
        return Bundled.random(run.rows, SMALL)
    if not (WEIGHTS / "backbone" / "model.safetensors").is_file():
        run.found["machine"]["weights"] = "random: the bundled ones are not in this checkout"
        return Bundled.random(run.rows, SHAPES["bundled"])
    return Bundled.read(run.rows)


def _checked(checks: Iterator[correctness.Check]) -> list[dict[str, Any]]:
    """Every check that was reached; one that raises ends its part, and is told as its last."""
    found = []
    try:
        for check in checks:
            found.append(check.to_dict())
    except Exception:
        found.append({"name": "stopped", "holds": False, "error": None, "failed": traceback.format_exc()})
    return found


def _outcome(part: dict[str, Any]) -> str:
    if "skipped" in part:
        return "SKIPPED"
    result = part["result"]
    if isinstance(result, list):
        broken = [check["name"] for check in result if not check["holds"]]
        return f"{len(result) - len(broken)} of {len(result)} hold" + (f"; BROKEN: {broken}" if broken else "")
    return "FAILED " + result["failed"].strip().splitlines()[-1] if "failed" in result else "measured"


def summary(found: dict[str, Any]) -> Iterator[str]:
    """The targets, one line each."""
    for shape in ("124m", "bundled", "small"):
        parts = {name: found.get(f"{name} {shape}", {}).get("result", {}) for name in (*_MANY, "decode", "encode")}
        for batch, figures in parts["decode"].items():
            if "step_us" in figures:
                target = " (target 1,500)" if batch == "batch 1" else ""
                median = figures["tokens_per_s"]["median"]
                yield f"{shape} decode {batch}: {median:,} tokens/s{target}, a step takes {figures['step_us']} us"
        encoded = parts["encode"]
        if "packed" in encoded:
            share, alone = (encoded[name]["share_of_bf16_rate"] for name in ("packed", "packed_device_only"))
            padded, in_order = (encoded.get(f"packed_over_transformers_{name}") for name in ("padded", "sorted"))
            yield (
                f"{shape} encode: {share} of the bf16 rate (target 0.40; the device alone {alone}), "
                f"{padded} x padded transformers (target 3), {in_order} x sorted ones"
            )
        for name in _MANY:
            figures = parts[name]
            if "different" in figures:
                share, ratio = figures["different"]["share_of_byte_floor"], figures["different_over_same"]
                yield (
                    f"{shape} {figures['rows']} sets of size {figures['adapter_size']}: {share} of the byte floor "
                    f"(target 0.30), {ratio} of one set's speed (target 0.80)"
                )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=140.0, help="Time of the whole run, about.")
    parser.add_argument("--output", type=Path, help="The JSON file to write.")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try every line.")
    parser.add_argument("--kernels", choices=["auto", "plain", "triton"], default="auto", help="What computes.")
    parser.add_argument("--no-graphs", action="store_true", help="Every step launch by launch.")
    parser.add_argument(
        "--mixes", type=int, default=200, help="Random batches of which graphs are tried against eager."
    )
    parser.add_argument("--rows", type=int, default=64, help="Texts of the correctness checks.")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["124m", "bundled"], help="To be timed.")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="PART", help="Parts whose names begin so; all by default."
    )
    parser.add_argument("--smoke", action="store_true", help="Small sizes, one round: does every line run?")
    chosen = parser.parse_args(arguments)
    device = torch.device(chosen.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("this machine has no GPU that torch can use; --device cpu --smoke tries every line without one")
    run = Run(
        budget=Budget(chosen.seconds, device, is_smoke=chosen.smoke),
        kernels=_kernels(chosen.kernels, device),
        output=chosen.output,
        has_graphs=device.type == "cuda" and not chosen.no_graphs,
        mixes=chosen.mixes,
        rows=chosen.rows,
        only=tuple(chosen.only),
    )
    run_all(run, chosen.seconds, ["small"] if chosen.smoke else chosen.shapes)
    for line in summary(run.found):
        _write(line)


def _kernels(name: str, device: torch.device) -> Kernels:
    if name == "auto":
        return kernels_for(device)
    if name == "plain":
        return PlainKernels()
    from adavae.model.gpu.triton_kernels import TritonKernels

    return TritonKernels()


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
