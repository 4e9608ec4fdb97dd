"""How fast the GPU path is, beside what the machine can do at best and beside the plain ways; figures, no verdicts but
the targets'.
"""

import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from adavae.model.adavae import AdaVAE, pad
from adavae.model.config import AdapterConfig, AdapterPlacement
from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.generation import generate
from adavae.model.decoding.sampling import next_tokens
from adavae.model.gpu.device_rows import DeviceRows
from adavae.model.gpu.device_sampling import Choice, RowParameters, choose
from adavae.model.gpu.kernels import Kernels, PlainKernels
from adavae.model.gpu.layout import PackedTexts, SlotTiles
from adavae.model.gpu.packed_encoder import encode_hidden_packed, encode_packed
from tests.bench.gpu.budget import Budget, Way
from tests.bench.gpu.models import PAPER, index_of, latents, random_rows
from tests.bench.gpu.peers import transformers_twin

Figures = dict[str, Any]
_Padded = tuple[Tensor, Tensor]


@torch.inference_mode()
def floors(budget: Budget, share_s: float) -> Figures:
    """Operations a second of a large product of halves, bytes a second of a copy (read and written)."""
    size = 256 if budget.is_smoke else 8192
    x = torch.randn(size, size, device=budget.device).bfloat16()
    y = torch.empty((1 << 20) if budget.is_smoke else (1 << 30), dtype=torch.uint8, device=budget.device)
    target = torch.empty_like(y)
    timings = budget.compared({"product": lambda: x @ x, "copy": lambda: target.copy_(y)}, share_s)
    rate, bandwidth = 2 * size**3 / timings["product"].median, 2 * y.nbytes / timings["copy"].median
    return {
        "bf16_tflops": rate / 1e12,
        "copy_gb_per_s": bandwidth / 1e9,
        "rounds": timings["product"].rounds,
        "product_ms": 1e3 * timings["product"].median,
    }


class Writer:
    """Rows that write texts of a fixed length through one ``DeviceRows``, whatever tokens they choose."""

    def __init__(
        self, vae: AdaVAE, kernels: Kernels, slots: Sequence[int], *, has_graphs: bool, decoding: Decoding, tokens: int
    ) -> None:
        self.vae, self.slots, self.tokens = vae, list(slots), tokens
        self.decodings = [replace(decoding, seed=row) for row in range(len(slots))]
        self.rows = DeviceRows(
            vae, max_rows=len(slots), max_tokens=max(128, tokens), kernels=kernels, has_graphs=has_graphs
        )
        self.z, self.index = latents(vae, len(slots)), index_of(vae, slots)
        self.join()

    def join(self) -> None:
        self.rows.leave(range(self.rows.num_rows))
        self.rows.join(self.vae.bank.decoder_memory(self.z, self.index), self.slots, self.decodings)
        self.done = 0

    def write(self) -> None:
        """Whole texts, from z to the last token."""
        self.join()
        for _ in range(self.tokens):
            self.rows.step()

    def step(self) -> None:
        if self.done == self.tokens:
            self.join()
        self.done += 1
        self.rows.step()


@torch.inference_mode()
def decoding(vae: AdaVAE, kernels: Kernels, budget: Budget, share_s: float, *, has_graphs: bool) -> Figures:
    """Tokens a second of whole texts of 64 tokens (z included): graphs, the same launch by launch, ``generate``."""
    figures: Figures = {}
    tokens = 8 if budget.is_smoke else 64
    greedy, few = Decoding(max_tokens=tokens), Decoding(max_tokens=8)
    for num_rows in (1, 11, 64):
        slots = [0] * num_rows
        writer = Writer(vae, kernels, slots, has_graphs=has_graphs, decoding=greedy, tokens=tokens)
        eager = Writer(vae, kernels, slots, has_graphs=False, decoding=few, tokens=8)
        z, index = latents(vae, num_rows), index_of(vae, slots)
        decodings = [few] * num_rows
        timings = budget.compared({"graphs": writer.write}, share_s / 5, max_rounds=9)
        slow: dict[str, Way] = {"eager": eager.write}
        slow["generate"] = lambda z=z, index=index, d=decodings: generate(vae, z, index, d)  # type: ignore[misc]
        timings |= budget.compared(slow, share_s / 10, max_rounds=5)
        step = budget.compared({"step": writer.step}, share_s / 20, max_rounds=9)["step"]
        figures[f"batch {num_rows}"] = {
            "tokens_per_s": timings["graphs"].rates(num_rows * tokens),
            "tokens_per_s_eager": timings["eager"].rates(num_rows * 8),
            "tokens_per_s_generate_at_most": timings["generate"].rates(num_rows * 8),
            "step_us": round(1e6 * step.median, 1),
            "graphs_over_eager": round(timings["eager"].median / 8 / (timings["graphs"].median / tokens), 2),
        }
        budget.wait()
    return figures


@torch.inference_mode()
def many_sets(
    vae: AdaVAE, kernels: Kernels, budget: Budget, share_s: float, bytes_per_s: float, *, has_graphs: bool
) -> Figures:
    """A step of 64 rows of 64 sets, against 64 rows of one and against the bytes that it has to read."""
    num = vae.bank.shape.num_slots
    tokens = 8 if budget.is_smoke else 64
    ways = {
        name: Writer(vae, kernels, slots, has_graphs=has_graphs, decoding=Decoding(max_tokens=tokens), tokens=tokens)
        for name, slots in (("same", [0] * num), ("different", list(range(num))))
    }
    timings = budget.compared({name: way.step for name, way in ways.items()}, share_s)
    weights, one_set = _decoder_bytes(vae)
    cache = _cache_bytes(ways["same"].rows, num, tokens / 2)
    figures: Figures = {"rows": num, "adapter_size": vae.bank.shape.adapter_size}
    for name, distinct in (("same", 1), ("different", num)):
        floor_s = (weights + distinct * one_set + cache) / bytes_per_s
        figures[name] = {
            "step_us": round(1e6 * timings[name].median, 1),
            "floor_us": round(1e6 * floor_s, 1),
            "share_of_byte_floor": round(floor_s / timings[name].median, 3),
            "tokens_per_s": timings[name].rates(num),
        }
    figures["different_over_same"] = round(timings["same"].median / timings["different"].median, 3)
    return figures


def _decoder_bytes(vae: AdaVAE) -> tuple[int, int]:
    """What a step reads of the backbone, and of one adapter set."""
    backbone = vae.backbone
    blocks = sum(parameter.nbytes for parameter in backbone.blocks.parameters())
    adapters = sum(parameter[0].nbytes for parameter in vae.bank.decoder_adapters.parameters())
    return blocks + backbone.lm_head.weight.nbytes, adapters


def _cache_bytes(rows: DeviceRows, num_rows: int, tokens: float) -> float:
    config, bank = rows.vae.backbone.config, rows.vae.bank
    size = rows.vae.backbone.wte.weight.element_size()
    return 2 * config.n_layer * num_rows * (bank.num_memory_positions + tokens) * config.n_embd * size


@torch.inference_mode()
def adapter_ways(vae: AdaVAE, kernels: Kernels, budget: Budget, share_s: float, *, has_graphs: bool) -> Figures:
    """The adapters of all layers alone: rows being decoded, and many tokens a set; each way as one graph."""
    S, C, A = vae.bank.shape.num_slots, vae.backbone.config.n_embd, vae.bank.shape.adapter_size
    weight = vae.backbone.wte.weight
    figures: Figures = {"layers": len(vae.bank.decoder_adapters), "sets": S, "adapter_size": A}
    for name, slots in (("rows_different", list(range(S))), ("rows_same", [0] * S)):
        x = torch.randn(S, C, device=budget.device, dtype=weight.dtype)
        rows = torch.tensor(slots, dtype=torch.int32, device=budget.device)
        ways: dict[str, Way] = {
            "kernel": _over_layers(vae, lambda down, up, x=x, rows=rows: _rows_by(kernels, x, down, up, rows)),
            "gather": _over_layers(vae, lambda down, up, x=x, rows=rows: _rows_by(PlainKernels(), x, down, up, rows)),
        }
        for cut, cut_kernels in _cuts(kernels).items():
            ways[cut] = _over_layers(
                vae, lambda down, up, x=x, r=rows, cut_kernels=cut_kernels: _rows_by(cut_kernels, x, down, up, r)
            )
        if name == "rows_different":
            ways["bmm"] = _over_layers(vae, lambda down, up, x=x: _batched(x, down, up))
            ends = torch.arange(1, S + 1, dtype=torch.int32, device=budget.device)
            ways["grouped_mm"] = _over_layers(vae, lambda down, up, x=x, e=ends: _grouped(x, down, up, e))
        figures[name] = _each(budget, ways, share_s / 3, has_graphs)
    each = 4 if budget.is_smoke else 128
    x = torch.randn(S * each, C, device=budget.device, dtype=weight.dtype)
    tiles = SlotTiles.of([(slot, slot * each, (slot + 1) * each) for slot in range(S)], budget.device)
    ends = torch.arange(1, S + 1, dtype=torch.int32, device=budget.device) * each
    ways = {
        "kernel": _over_layers(vae, lambda down, up: _tiles_by(kernels, x, down, up, tiles)),
        "loop": _over_layers(vae, lambda down, up: _tiles_by(PlainKernels(), x, down, up, tiles)),
        "bmm": _over_layers(vae, lambda down, up: _batched(x, down, up)),
        "grouped_mm": _over_layers(vae, lambda down, up: _grouped(x, down, up, ends)),
    }
    figures[f"{each}_tokens_a_set"] = _each(budget, ways, share_s / 3, has_graphs)
    return figures


def _cuts(kernels: Kernels) -> dict[str, Kernels]:
    """Other ways to cut a row's product into programs, where that can be chosen."""
    if type(kernels) is PlainKernels:
        return {}
    from adavae.model.gpu.triton_kernels import RowBlocks, TritonKernels

    shapes = [(16, 4), (64, 4), (128, 8), (32, 8), (32, 2)]
    return {
        f"kernel of {outputs} outputs, {warps} warps": TritonKernels(RowBlocks(outputs, outputs, warps))
        for outputs, warps in shapes
    }


def _each(budget: Budget, ways: dict[str, Way], share_s: float, has_graphs: bool) -> Figures:
    """Microseconds of every way; one that cannot be run is told so."""
    figures: Figures = {}
    ready: dict[str, Way] = {}
    for name, way in ways.items():
        try:
            way()
            ready[name] = captured(way) if has_graphs else way
            ready[name]()
        except (RuntimeError, TypeError, AttributeError, NotImplementedError) as exc:
            figures[name] = f"{type(exc).__name__}: {str(exc)[:160]}"
            ready.pop(name, None)
    timings = budget.compared(ready, share_s)
    return figures | {f"{name}_us": round(1e6 * timing.median, 1) for name, timing in timings.items()}


def captured(way: Way) -> Way:
    """``way`` as one graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        way()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        way()
    return graph.replay


def _over_layers(vae: AdaVAE, way: Callable[[Any, Any], Tensor]) -> Way:
    placed = [
        layer.placed[AdapterPlacement.PARALLEL_FFN]  # type: ignore[index, union-attr]
        for layer in vae.bank.decoder_adapters
    ]

    def run() -> None:
        for adapter in placed:
            way(adapter.down, adapter.up)

    return run


def _rows_by(kernels: Kernels, x: Tensor, down: Any, up: Any, rows: Tensor) -> Tensor:
    narrow = kernels.linear_of_rows(x, down, rows, scale=1.0, is_relu=True, base=None)
    return kernels.linear_of_rows(narrow, up, rows, scale=1.0, is_relu=False, base=x)


def _tiles_by(kernels: Kernels, x: Tensor, down: Any, up: Any, tiles: SlotTiles) -> Tensor:
    narrow = kernels.linear_of_tiles(x, down, tiles, scale=1.0, is_relu=True, base=None)
    return kernels.linear_of_tiles(narrow, up, tiles, scale=1.0, is_relu=False, base=x)


def _batched(x: Tensor, down: Any, up: Any) -> Tensor:
    S = down.weight.shape[0]
    rows = x.view(S, -1, x.shape[1])
    narrow = torch.baddbmm(down.bias.unsqueeze(1), rows, down.weight.mT).relu_()
    return x + torch.baddbmm(up.bias.unsqueeze(1), narrow, up.weight.mT).view_as(x)


def _grouped(x: Tensor, down: Any, up: Any, ends: Tensor) -> Tensor:
    """cuBLAS' or CUTLASS' grouped product; biases aside."""
    narrow = F.grouped_mm(x, down.weight.mT, offs=ends).relu_()
    return x + F.grouped_mm(narrow, up.weight.mT, offs=ends)


@torch.inference_mode()
def encoding(vae: AdaVAE, kernels: Kernels, budget: Budget, share_s: float, flops_per_s: float) -> Figures:
    """Tokens a second: packed of one set and of many, ours padded, transformers padded as texts arrive and sorted."""
    num, batch = (24, 8) if budget.is_smoke else (1024, 64)
    config, depth = vae.backbone.config, vae.bank.shape.encoder_layers
    rows = random_rows(num, config, longest=min(128, config.n_positions - 1))
    tokens, S = sum(map(len, rows)), vae.bank.shape.num_slots
    one, many = [0] * num, [row % S for row in range(num)]
    texts = PackedTexts.of(rows, one, budget.device)
    arrived = [_padded_on(rows[at : at + batch], vae, budget.device) for at in range(0, num, batch)]
    index = index_of(vae, [0] * batch)
    ways: dict[str, Way] = {
        "packed": lambda: encode_packed(vae, kernels, rows, one).mu.cpu(),
        "packed_device_only": lambda: encode_hidden_packed(vae, kernels, texts, [depth] * num),
        f"packed_{S}_sets": lambda: encode_packed(vae, kernels, rows, many).mu.cpu(),
        "ours_padded": lambda: [vae.encode(ids, mask, index).mu for ids, mask in arrived],
        "one_text": lambda: encode_packed(vae, kernels, rows[:1], one[:1]).mu.cpu(),
    }
    figures: Figures = {}
    try:
        ways |= _peers(vae, rows, arrived, budget, depth, batch)
    except Exception:
        figures["transformers"] = traceback.format_exc()
    timings = budget.compared(ways, share_s, max_rounds=9)
    per_token = depth * 2 * _block_parameters(vae)
    operations = tokens * per_token + depth * 4 * config.n_embd * sum(len(row) ** 2 for row in rows)
    figures |= {"texts": num, "tokens": tokens, "layers": depth, "gflop_a_token": per_token / 1e9}
    for name, timing in timings.items():
        if name == "one_text":
            figures["one_text_ms"] = round(1e3 * timing.median, 3)
            continue
        figures[name] = {
            "tokens_per_s": timing.rates(tokens, 0),
            "share_of_bf16_rate": round(operations / timing.median / flops_per_s, 3),
        }
    for peer in ("ours_padded", "transformers_padded", "transformers_sorted"):
        if peer in timings:
            figures[f"packed_over_{peer}"] = round(timings[peer].median / timings["packed"].median, 2)
    return figures


def _peers(
    vae: AdaVAE, rows: list[list[int]], arrived: Sequence[_Padded], budget: Budget, depth: int, batch: int
) -> dict[str, Way]:
    """transformers over the same blocks without adapters, texts as they arrive and sorted by length."""
    twin = transformers_twin(vae.backbone, vae.backbone.wte.weight.dtype, budget.device, depth)
    if twin is None:
        return {}
    by_length = sorted(rows, key=len)
    in_order = [_padded_on(by_length[at : at + batch], vae, budget.device) for at in range(0, len(rows), batch)]
    _run_twin(twin, in_order[:1])
    return {
        "transformers_padded": lambda: _run_twin(twin, arrived),
        "transformers_sorted": lambda: _run_twin(twin, in_order),
    }


def _padded_on(rows: list[list[int]], vae: AdaVAE, device: torch.device) -> tuple[Tensor, Tensor]:
    return pad(rows, vae.eos_token_id, device)


def _run_twin(twin: Any, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
    for token_ids, mask in batches:
        twin.transformer(input_ids=token_ids, attention_mask=mask.long(), use_cache=False)


def _block_parameters(vae: AdaVAE) -> int:
    """Of one block's matrices and its adapters: what a token is multiplied by."""
    block = sum(parameter.numel() for parameter in vae.backbone.blocks[0].parameters() if parameter.ndim == 2)
    return block + 2 * vae.backbone.config.n_embd * vae.bank.shape.adapter_size


@torch.inference_mode()
def sampling(vae: AdaVAE, kernels: Kernels, budget: Budget, share_s: float, *, has_graphs: bool) -> Figures:
    """What choosing costs: on the device inside a step, and ``next_tokens`` with its lists from the host."""
    num, V, device = 64, vae.backbone.config.vocab_size, budget.device
    sampled = Decoding(strategy=Strategy.SAMPLE, top_p=0.9, temperature=0.8, max_tokens=64)
    logits = torch.randn(num, V, device=device)
    parameters = RowParameters.greedy(num, V, device)
    parameters.put(slice(0, num), [replace(sampled, seed=row) for row in range(num)])
    steps = torch.zeros(num, dtype=torch.int32, device=device)
    decodings = [replace(sampled, seed=row) for row in range(num)]
    on_device: Way = lambda: choose(kernels, logits, parameters, steps, Choice.ANY, 0)  # noqa: E731
    likeliest: Way = lambda: choose(kernels, logits, parameters, steps, Choice.LIKELIEST, 0)  # noqa: E731
    on_device()
    ways: dict[str, Way] = {
        "device_sampled": captured(on_device) if has_graphs else on_device,
        "device_greedy": captured(likeliest) if has_graphs else likeliest,
        "next_tokens_sampled": lambda: next_tokens(logits, decodings, None, 0).tolist(),
    }
    timings = budget.compared(ways, share_s)
    return {f"{name}_us": round(1e6 * timing.median, 1) for name, timing in timings.items()}


@torch.inference_mode()
def synchronisations(vae: AdaVAE, kernels: Kernels, budget: Budget, *, has_graphs: bool) -> Figures:
    """How often the host waits in a step, by what the profiler sees, and whether torch finds a hidden wait."""
    writer = Writer(vae, kernels, [0] * 8, has_graphs=has_graphs, decoding=Decoding(max_tokens=64), tokens=64)
    sampled = Decoding(strategy=Strategy.SAMPLE, top_p=0.9, max_tokens=64)
    drawing = Writer(vae, kernels, [0] * 8, has_graphs=has_graphs, decoding=sampled, tokens=64)
    figures: Figures = {}
    for name, writing in (("greedy", writer), ("sampled", drawing)):
        writing.step()
        budget.wait()
        with profile(activities=_activities(budget)) as recorded:
            for _ in range(10):
                writing.step()
        counts = {event.key: event.count for event in recorded.key_averages() if event.key.startswith("cuda")}
        figures[name] = {
            "waits_a_step": sum(count for key, count in counts.items() if "Synchronize" in key) / 10,
            "launches_a_step": sum(count for key, count in counts.items() if "Launch" in key) / 10,
            "calls_in_10_steps": counts,
        }
        with _told_of_waits(budget) as told:
            for _ in range(5):
                writing.step()
            writing.rows.leave([0])
            writing.join()
        figures[name]["hidden_waits_in_5_steps_a_leave_and_a_join"] = [str(one.message)[:120] for one in told]
    return figures


@contextmanager
def _told_of_waits(budget: Budget) -> Iterator[list[warnings.WarningMessage]]:
    """What torch warns of meanwhile: a copy or a number for which the host waits."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if budget.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield told
        finally:
            if budget.device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")


def _activities(budget: Budget) -> list[ProfilerActivity]:
    both = [ProfilerActivity.CPU]
    return [*both, ProfilerActivity.CUDA] if budget.device.type == "cuda" else both


@torch.inference_mode()
def where_time_goes(ways: dict[str, Way], budget: Budget) -> Figures:
    """The kernels of one call each, the longest first, in microseconds of the device."""
    figures: Figures = {}
    for name, way in ways.items():
        way()
        budget.wait()
        with profile(activities=_activities(budget)) as recorded:
            for _ in range(3):
                way()
            budget.wait()
        events = [event for event in recorded.key_averages() if getattr(event, "self_device_time_total", 0) > 0]
        events.sort(key=lambda event: -event.self_device_time_total)
        figures[name] = {
            "device_us": round(sum(event.self_device_time_total for event in events) / 3, 1),
            "kernels": [
                {"name": event.key[:90], "us": round(event.self_device_time_total / 3, 1), "calls": event.count / 3}
                for event in events[:14]
            ],
        }
    return figures


def sets_of(num: int, adapter_size: int, depth: int) -> list[AdapterConfig]:
    return [replace(PAPER, adapter_size=adapter_size, encoder_layers=depth)] * num
