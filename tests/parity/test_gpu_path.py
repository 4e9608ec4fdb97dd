"""The GPU's way of computing against the plain one: on a CPU with its plain operations, in Triton's interpreter, and on
a GPU where there is one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from adavae.model.adavae import AdaVAE, pad
from adavae.model.config import AdapterConfig
from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.drawing import uniform
from adavae.model.decoding.generation import generate
from adavae.model.decoding.sampling import end_held_off, next_tokens
from adavae.model.gpu.blocks import uniform_ffn
from adavae.model.gpu.device_kernels import kernels_for
from adavae.model.gpu.device_rows import DeviceRows, buckets
from adavae.model.gpu.device_sampling import NOT_FINITE, Choice, RowParameters, choose, uniform_of
from adavae.model.gpu.kernels import Kernels, PlainKernels
from adavae.model.gpu.layout import TILE_ROWS, PackedTexts, SlotTiles
from adavae.model.gpu.packed_encoder import encode_packed
from adavae.model.parts.stacked import AdapterIndex
from tests.bench.gpu.correctness import decode, graph_checks, kernel_checks
from tests.bench.gpu.models import moved
from tests.tiny import PLAIN, POOLED, TINY, mixed_bank, tiny_backbone

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
SEQUENTIAL = replace(PLAIN, adapter_placement=POOLED.adapter_placement, latent_size=6, encoder_layers=3)
SETS = (PLAIN, POOLED, SEQUENTIAL)
DECODINGS = (
    Decoding(max_tokens=12),
    Decoding(strategy=Strategy.SAMPLE, seed=3, max_tokens=12),
    Decoding(strategy=Strategy.SAMPLE, seed=1 << 62, top_k=5, top_p=0.9, temperature=0.7, max_tokens=9),
    Decoding(repetition_penalty=1.8, max_tokens=12),
)
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed: pip install triton")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")


def vae(configs: tuple[AdapterConfig, ...] = SETS) -> AdaVAE:
    bank, _ = mixed_bank(configs)
    return AdaVAE(tiny_backbone(), bank)


def latents(num: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(num, 6, generator=torch.Generator().manual_seed(seed))


def texts(num: int) -> tuple[list[list[int]], list[int]]:
    rows = [[(7 * row + position) % TINY.vocab_size for position in range(1 + 5 * row % 13)] for row in range(num)]
    return rows, [(5 * row) % len(SETS) for row in range(num)]


@pytest.fixture(params=[pytest.param("cpu"), pytest.param("cuda", marks=needs_gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    yield torch.device(request.param)


def kernels_of(device: torch.device) -> Kernels:
    return kernels_for(device)


@torch.inference_mode()
def test_packed_texts_of_many_sets_and_depths_encode_as_padded_ones(device: torch.device) -> None:
    rows, slots = texts(11)
    expected = vae().encode(*pad(rows, 0), AdapterIndex.of(slots))
    moved_vae = moved(vae(), torch.float32, device)
    got = encode_packed(moved_vae, kernels_of(device), rows, slots)
    assert expected.mu.std() > 0.1
    torch.testing.assert_close(got.mu.cpu(), expected.mu, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got.logvar.cpu(), expected.logvar, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_one_packed_set_encodes_as_padded(device: torch.device) -> None:
    rows, _ = texts(6)
    expected = vae().encode(*pad(rows, 0), AdapterIndex.of([2] * 6))
    got = encode_packed(moved(vae(), torch.float32, device), kernels_of(device), rows, [2] * 6)
    torch.testing.assert_close(got.mu.cpu(), expected.mu, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_rows_on_the_device_write_the_texts_that_generate_writes(device: torch.device) -> None:
    num = 13
    slots = [(5 * row) % len(SETS) for row in range(num)]
    decodings = [DECODINGS[row % len(DECODINGS)] for row in range(num)]
    expected = generate(vae(), latents(num), AdapterIndex.of(slots), decodings)
    assert len({row.token_ids for row in expected}) > 8
    moved_vae = moved(vae(), torch.float32, device)
    has_graphs = device.type == "cuda"
    got = decode(moved_vae, kernels_of(device), latents(num).to(device), slots, decodings, has_graphs=has_graphs)
    assert [text.token_ids for text in got] == [row.token_ids for row in expected]


@torch.inference_mode()
def test_places_that_no_row_has_change_nothing() -> None:
    """A step computes a whole bucket; rows that left are still in its cache."""
    tiny_vae = vae()
    crowded = DeviceRows(tiny_vae, max_rows=8, max_tokens=12, kernels=PlainKernels())
    alone = DeviceRows(tiny_vae, max_rows=1, max_tokens=12, kernels=PlainKernels())
    z, decoding = latents(5), Decoding(max_tokens=12)
    crowded.join(tiny_vae.bank.decoder_memory(z, AdapterIndex.of([0, 1, 2, 1, 0])), [0, 1, 2, 1, 0], [decoding] * 5)
    crowded.step()
    assert crowded.leave([0, 1, 2, 4]) == [(3, 2), (2, 1), (1, 0)]
    alone.join(tiny_vae.bank.decoder_memory(z[3:4], AdapterIndex.of([1])), [1], [decoding])
    alone.step()
    assert [crowded.step() for _ in range(6)] == [alone.step() for _ in range(6)]


@torch.inference_mode()
def test_plain_attention_reads_nothing_behind_a_rows_last_token() -> None:
    """An earlier row that overflowed left numbers there that are none, and zero times these is none."""
    tiny_vae = vae()
    fresh, used = (DeviceRows(tiny_vae, max_rows=1, max_tokens=12, kernels=PlainKernels()) for _ in range(2))
    used._keys.fill_(torch.nan), used._values.fill_(torch.nan)
    for rows in (fresh, used):
        rows.join(tiny_vae.bank.decoder_memory(latents(1), AdapterIndex.of([1])), [1], [Decoding(max_tokens=12)])
    assert [used.step() for _ in range(6)] == [fresh.step() for _ in range(6)]


@torch.inference_mode()
def test_a_row_that_is_no_number_is_told_and_its_neighbours_go_on() -> None:
    tiny_vae = vae()
    z = latents(3)
    z[1] = torch.nan
    rows = DeviceRows(tiny_vae, max_rows=3, max_tokens=12, kernels=PlainKernels())
    rows.join(tiny_vae.bank.decoder_memory(z, AdapterIndex.of([0, 0, 0])), [0, 0, 0], [Decoding()] * 3)
    tokens = rows.step()
    assert tokens[1] == NOT_FINITE
    expected = generate(tiny_vae, z[[0, 2]], AdapterIndex.of([0, 0]), [Decoding(max_tokens=1)] * 2)
    assert [(tokens[0],), (tokens[2],)] == [text.token_ids for text in expected]


@torch.inference_mode()
def test_one_set_beside_the_mlp_equals_mlp_and_adapter_apart() -> None:
    """What a GPU does where all texts have one set; on a CPU nothing calls it."""
    tiny_vae = vae()
    block, adapter = tiny_vae.backbone.blocks[0], tiny_vae.bank.encoder_adapters[0].placed["parallel_ffn"]  # type: ignore[index, union-attr]
    x, normed = torch.randn(2, 9, TINY.n_embd, generator=torch.Generator().manual_seed(3))
    apart = block.mlp(normed) + 0.5 * adapter(x, AdapterIndex.uniform(9))
    together = uniform_ffn(block, TINY.activation, adapter, 0, 0.5, x, normed)  # type: ignore[arg-type]
    assert (apart - block.mlp(normed)).abs().max() > 0.1
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_graphs_and_launches_agree_over_random_mixes(device: torch.device) -> None:
    moved_vae = moved(vae(), torch.float32, device)
    checks = list(graph_checks(moved_vae, kernels_of(device), num_mixes=5, has_graphs=device.type == "cuda"))
    assert all(check.holds for check in checks), checks
    assert checks[0].details["tokens"] > 100


@torch.inference_mode()
def test_every_kernel_equals_its_plain_twin_in_double_precision(device: torch.device) -> None:
    checks = list(kernel_checks(kernels_of(device), device))
    assert len(checks) > 20
    assert [check for check in checks if not check.holds] == []


def test_choices_on_the_device_are_the_hosts() -> None:
    num, V = 40, 500
    logits = 3 * torch.randn(num, V, generator=torch.Generator().manual_seed(5))
    logits[:, 0] += 8.0  # end-of-text, which some rows may not choose yet
    decodings = [replace(DECODINGS[row % len(DECODINGS)], seed=row * 977, min_tokens=row % 4) for row in range(num)]
    has_token = torch.rand(num, V, generator=torch.Generator().manual_seed(6)) < 0.1
    steps = [row % 7 for row in range(num)]
    parameters = RowParameters.greedy(num, V, CPU)
    parameters.put(slice(0, num), decodings)
    parameters.has_token.copy_(has_token)
    got = choose(PlainKernels(), logits, parameters, torch.tensor(steps), Choice.ANY, 0)
    held = end_held_off(logits, decodings, steps, 0)
    assert not torch.equal(held, logits)
    assert torch.equal(got, next_tokens(held, decodings, has_token, steps))


def test_random_numbers_on_the_device_are_the_hosts() -> None:
    seeds = [0, 1, 977, (1 << 63) - 1, 1 << 62]
    steps = [0, 3, 1, 127, 9]
    got = uniform_of(torch.tensor(seeds), torch.tensor(steps))
    assert got.tolist() == [uniform(seed, step) for seed, step in zip(seeds, steps, strict=True)]


def test_packed_texts_can_be_padded_and_packed_again() -> None:
    rows, slots = texts(9)
    order = sorted(range(9), key=lambda row: slots[row])
    packed = PackedTexts.of([rows[row] for row in order], [slots[row] for row in order], CPU)
    ids, mask = pad([rows[row] for row in order], 0)
    assert torch.equal(packed.padded(packed.token_ids.unsqueeze(1)).squeeze(2) * mask, ids)
    assert torch.equal(packed.attention_mask, mask)
    assert torch.equal(packed.packed(ids.unsqueeze(2)).squeeze(1), packed.token_ids)
    assert torch.equal(packed.first(4).attention_mask, pad([rows[row] for row in order[:4]], 0)[1])


def test_tiles_cover_every_row_of_their_slot_once() -> None:
    spans = [(3, 0, 2 * TILE_ROWS + 1), (0, 2 * TILE_ROWS + 1, 2 * TILE_ROWS + 2)]
    tiles = SlotTiles.of(spans, CPU).table.T.tolist()
    covered = [(slot, row) for slot, start, stop in tiles for row in range(start, stop)]
    assert covered == [(slot, row) for slot, start, stop in spans for row in range(start, stop)]
    assert all(0 < stop - start <= TILE_ROWS for _, start, stop in tiles)


@pytest.mark.parametrize("max_rows", [1, 5, 64, 100])
def test_every_number_of_rows_has_a_bucket(max_rows: int) -> None:
    sizes = buckets(max_rows)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == max_rows


@needs_triton
@pytest.mark.slow
def test_triton_programs_equal_the_plain_operations_in_its_interpreter() -> None:
    """In a process of its own: Triton decides at import. bfloat16 products are for a GPU, the interpreter has none."""
    script = (
        "import torch\n"
        "from adavae.model.gpu.triton_kernels import TritonKernels\n"
        "from tests.bench.gpu.correctness import kernel_checks\n"
        "checks = list(kernel_checks(TritonKernels(), torch.device('cpu')))\n"
        "broken = [c.name for c in checks if not c.holds and not ('tiles' in c.name and 'bfloat16' in c.name)]\n"
        "assert len(checks) > 20 and not broken, broken\n"
    )
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
