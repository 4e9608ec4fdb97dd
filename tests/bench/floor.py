"""How fast this machine could be, how fast the model is, and where time goes, for one decode step and one encode.

    python -m tests.bench.floor

The floor is the larger of bytes over the measured bandwidth and operations over the measured rate of a large matrix
product (PyTorch's in float32; with int8 weights our own of bytes); bytes are the weights that a step reads, in the form
in which they are kept. Writes a Markdown table.
"""

import argparse
import ctypes
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

from adavae.model.adavae import pad
from adavae.model.config import WeightFormat
from adavae.model.kernel.backbone_kernel import BackboneKernel
from adavae.model.kernel.library import KINDS, LinearFields, check, library
from adavae.model.kernel.packing import KeptTensors
from tests.bench.subjects import ShapeName, Subject

_NUM_STEPS = 24
_KINDS = {
    "matrices": ("linear_dynamic_fp16", "addmm", "bmm", "baddbmm", "mm"),
    "attention": ("scaled_dot_product", "softmax"),
    "norms, activations, sums": ("layer_norm", "gelu", "relu", "add", "mul"),
}


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of work: its least cost, and how to do it; one call does ``repeats`` of it.

    Attributes:
        kernel: The compiled code that computes it, if any.
    """

    name: str
    num_bytes: float
    operations: float
    run: Callable[[], object]
    repeats: int
    kernel: BackboneKernel | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=["bundled", "124m", "both"], default="both")
    parser.add_argument("--weight-format", type=WeightFormat, choices=list(WeightFormat), default=WeightFormat.FLOAT16)
    chosen = parser.parse_args()
    is_int8 = chosen.weight_format is WeightFormat.INT8
    rate = _int8_rate() if is_int8 else _matrix_rate()
    sys.stdout.write(
        f"{torch.get_num_threads()} threads: {rate / 1e9:.0f} billion operations/s in "
        f"{'int8' if is_int8 else 'float32'}\n\n"
    )
    sys.stdout.write(
        "| what | floor, ms | of bytes, of operations | measured, ms | times the floor | where it goes |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|\n")
    shapes: list[ShapeName] = ["bundled", "124m"] if chosen.shape == "both" else [chosen.shape]
    for shape in shapes:
        for work in _works(Subject.of(shape, 1, chosen.weight_format)):
            bandwidth = _bandwidth(work.num_bytes)
            of_bytes, of_operations = 1e3 * work.num_bytes / bandwidth, 1e3 * work.operations / rate
            floor, measured = max(of_bytes, of_operations), _milliseconds(work)
            sys.stdout.write(
                f"| {work.name} ({shape}) | {floor:.2f} | {of_bytes:.2f} (at {bandwidth / 1e9:.0f} GB/s), "
                f"{of_operations:.2f} | {measured:.2f} "
                f"| {measured / floor:.1f} | {_shares(work)} |\n"
            )
            sys.stdout.flush()


@torch.inference_mode()
def _bandwidth(num_bytes: float) -> float:
    """Bytes a second of reading as many again and again; the cache may hold them, as it may hold the weights."""
    x = torch.ones(int(num_bytes) // 4)
    return x.nbytes / _best(x.sum, repeats=50)


@torch.inference_mode()
def _matrix_rate() -> float:
    """Operations per second of a large product."""
    x = torch.randn(2048, 2048)
    return 2 * 2048**3 / _best(lambda: x @ x)


def _int8_rate(size: int = 2048) -> float:
    """The same of bytes times int8, by the compiled code."""
    compiled, kept = library(), KeptTensors()
    assert compiled is not None, "nothing is compiled here: python model/kernel/build_hook.py"
    x, output = torch.randn(size, size), torch.empty(size, size)
    task = LinearFields(
        matrix=kept.int8_four_matrix(torch.randn(size, size), None),
        num_rows=size,
        num_threads=torch.get_num_threads(),
        int8_way=compiled.int8_way,
        x=x.data_ptr(),
        output=output.data_ptr(),
    )
    return 2 * size**3 / _best(lambda: check(compiled.linear(ctypes.byref(task))))


def _best(run: Callable[[], object], repeats: int = 10) -> float:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _works(subject: Subject) -> Iterator[Work]:
    vae, backbone = subject.text_model.vae, subject.pretrained.backbone
    adapter = subject.sets[0].manifest.config
    config, bottleneck = backbone.config, 2 * backbone.config.n_embd * adapter.adapter_size
    block = sum(parameter.numel() for parameter in backbone.blocks[0].parameters())
    decoder, head = config.n_layer * block, backbone.lm_head.weight.numel()
    size = 1 if backbone.weight_format is WeightFormat.INT8 else 2  # bytes
    for num_rows in (1, 11, 32):
        z, index = torch.from_numpy(subject.latents(num_rows)), subject.text_model.index_of("set-0", num_rows)

        @torch.inference_mode()
        def decode(z: torch.Tensor = z, index=index) -> None:  # type: ignore[no-untyped-def]
            logits, cache = vae.prefill(z, index, _NUM_STEPS)
            for _ in range(_NUM_STEPS - 1):
                logits = vae.decode_step(torch.from_numpy(logits.numpy().argmax(-1)), cache, index)

        num_bytes = size * (decoder + head + config.n_layer * bottleneck)
        operations = 2 * num_rows * (decoder + head + config.n_layer * bottleneck)
        yield Work(f"decode step, {num_rows} rows", num_bytes, operations, decode, _NUM_STEPS, backbone.kernel)
    rows = [row[:24] for row in subject.texts(64) if len(row) >= 24][:32]
    ids, mask = pad(rows, config.eos_token_id)
    index = subject.text_model.index_of("set-0", len(rows))

    @torch.inference_mode()
    def encode() -> None:
        vae.encode(ids, mask, index)

    encoder = adapter.encoder_layers * (block + bottleneck)
    operations = 2 * ids.numel() * encoder
    yield Work(f"encode {len(rows)} texts of 24 tokens", size * encoder, operations, encode, 1, backbone.kernel)


def _milliseconds(work: Work) -> float:
    work.run()
    times = [_best(work.run, repeats=1) for _ in range(9)]
    return 1e3 * statistics.median(times) / work.repeats


def _shares(work: Work) -> str:
    """Share of time by kind: of the time inside operations, or of the whole time if they are compiled."""
    if work.kernel is not None:
        return _kernel_shares(work, work.kernel)
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        work.run()
    spent = dict.fromkeys((*_KINDS, "the rest"), 0.0)
    for event in recorded.key_averages():
        kinds = (kind for kind, names in _KINDS.items() if any(name in event.key for name in names))
        spent[next(kinds, "the rest")] += event.self_cpu_time_total
    whole = sum(spent.values())
    return ", ".join(f"{kind} {100 * seconds / whole:.0f} %" for kind, seconds in spent.items())


def _kernel_shares(work: Work, kernel: BackboneKernel) -> str:
    kernel.seconds = torch.zeros(len(KINDS), dtype=torch.float64)
    whole = _best(work.run, repeats=1)
    shares = dict(zip(KINDS, (kernel.seconds / whole).tolist(), strict=True))
    kernel.seconds = None
    shares["the rest"] = 1.0 - sum(shares.values())
    return ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in shares.items())


if __name__ == "__main__":
    main()
