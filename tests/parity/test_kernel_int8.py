"""int8 weights: products against slow whole numbers, bit for bit; blocks against the same in PyTorch and float32."""

import ctypes
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from adavae.model.adavae import pad
from adavae.model.config import BackboneConfig, WeightFormat
from adavae.model.kernel import library as kernel_library
from adavae.model.kernel.backbone_kernel import BackboneKernel
from adavae.model.kernel.library import PANEL, Int8Way, Library, LinearFields, MatrixFields, Numbers, check
from adavae.model.kernel.packing import KeptTensors
from adavae.model.parts.stacked import AdapterIndex
from tests.parity.compiled import RUNS, best_compiled, compiled_for
from tests.parity.int8_twin import Int8Linear, use_int8
from tests.parity.test_kernel_decode import ODD, Model, tokens_of
from tests.parity.test_kernel_encode import LONG, SETS, hidden_of, texts_of
from tests.parity.test_kernel_latent import SETS as LATENT_SETS
from tests.parity.test_kernel_latent import memory, model_of, z_of
from tests.tiny import TINY

WAYS = [Int8Way.WORDS, Int8Way.DOT, Int8Way.AMX]


def ways_of(compiled: Library) -> list[Int8Way]:
    """Those that it has here, the best one last."""
    return [way for way in WAYS if way <= compiled.int8_way and (way, compiled.instructions) != (Int8Way.WORDS, "neon")]


def compiled_with(way: Int8Way) -> Library:
    """The library with that way of multiplying bytes; the test is skipped where there is none."""
    compiled = best_compiled()
    if way not in ways_of(compiled):
        pytest.skip(f"this processor, or what was compiled for it, has no {way.name}")
    return replace(compiled, int8_way=way)


def compiled_with_any() -> Library:
    """The library with its best way."""
    compiled = best_compiled()
    if compiled.int8_way is Int8Way.NONE:
        pytest.skip("this processor, or what was compiled for it, does not multiply bytes")
    return compiled


@pytest.fixture(params=[*WAYS, "avx2"], ids=lambda param: getattr(param, "name", param))
def compiled(request: pytest.FixtureRequest) -> Library:
    """By each way, and what serves where there is no more than AVX2."""
    return compiled_with(request.param) if isinstance(request.param, Int8Way) else compiled_for(request.param)


def product(compiled: Library, matrix: MatrixFields, x: Tensor) -> Tensor:
    """(B, out)."""
    output = torch.empty(len(x), matrix.out_features)
    task = LinearFields(
        matrix=matrix,
        num_rows=len(x),
        num_threads=1,
        int8_way=compiled.int8_way,
        x=x.data_ptr(),
        output=output.data_ptr(),
    )
    check(compiled.linear(ctypes.byref(task)))
    return output


def numbers_of(num_rows: int, out_features: int, in_features: int) -> tuple[Tensor, Tensor]:
    """Rows and a weight, of very different sizes."""
    generator = torch.Generator().manual_seed(1000 * num_rows + 10 * out_features + in_features)
    x = torch.randn(num_rows, in_features, generator=generator) * torch.logspace(-3, 3, num_rows).unsqueeze(1)
    return x, torch.randn(out_features, in_features, generator=generator)


@pytest.mark.parametrize("num_rows", [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 15, 16, 17, 31, 32, 33, 41, 95, 96, 97, 105])
@pytest.mark.parametrize("out_features", [1, PANEL, PANEL + 1, 3 * PANEL - 1])
@pytest.mark.parametrize("in_features", [1, 63, 64, 65, 200])
def test_products_are_those_of_the_slow_twin_bit_for_bit(
    compiled: Library, num_rows: int, out_features: int, in_features: int
) -> None:
    x, weight = numbers_of(num_rows, out_features, in_features)
    kept = KeptTensors()
    got = product(compiled, kept.int8_four_matrix(weight, None), x)
    assert torch.equal(got, Int8Linear(weight, None)(x))


def test_a_bias_is_added_and_the_sums_of_the_longest_rows_are_exact(compiled: Library) -> None:
    """65,536 products of the largest byte with the largest weight are 2,122,383,360: they fit."""
    most = kernel_library.MOST_INT8_FEATURES
    x, weight, kept = torch.ones(3, most), torch.ones(5, most), KeptTensors()
    bias = torch.arange(5.0)
    got = product(compiled, kept.int8_four_matrix(weight, bias), x)
    torch.testing.assert_close(got, most + bias.expand(3, 5), rtol=1e-6, atol=0.0)
    assert torch.equal(
        product(compiled, kept.int8_four_matrix(-weight, None), x),
        -product(compiled, kept.int8_four_matrix(weight, None), x),
    )


@pytest.mark.parametrize("num_rows", [1, 9, 40])
def test_rows_of_zeros_of_one_sign_and_of_tiny_numbers(compiled: Library, num_rows: int) -> None:
    x, weight = numbers_of(num_rows, 40, 70)
    kept = KeptTensors()
    for rows in (x * 0.0, x.abs(), -x.abs(), x * 1e-38, x * 1e30, torch.full_like(x, 3.0)):
        got = product(compiled, kept.int8_four_matrix(weight, None), rows.contiguous())
        assert torch.equal(got, Int8Linear(weight, None)(rows))
        assert got.isfinite().all()


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("place", [0, 37, 69])
def test_a_row_with_a_number_that_is_not_finite_is_nothing_and_leaves_the_others_alone(
    compiled: Library, number: float, place: int
) -> None:
    x, weight = numbers_of(20, 40, 70)
    kept = KeptTensors()
    matrix = kept.int8_four_matrix(weight, None)
    expected = product(compiled, matrix, x)
    x[7, place] = number
    got = product(compiled, matrix, x)
    assert got[7].isnan().all()
    others = [row for row in range(20) if row != 7]
    assert torch.equal(got[others], expected[others])


def test_an_output_of_zeros_is_zero(compiled: Library) -> None:
    x, weight = numbers_of(12, 40, 70)
    weight[5] = 0.0
    kept = KeptTensors()
    assert not product(compiled, kept.int8_four_matrix(weight, None), x)[:, 5].any()


@pytest.mark.parametrize("instructions", RUNS)
@pytest.mark.parametrize("num_rows", [1, 12, 13, 30])
def test_int8_times_float32_is_the_rounded_weight_times_the_row(instructions: str, num_rows: int) -> None:
    check_int8_times_float32(compiled_for(instructions), num_rows)


def check_int8_times_float32(compiled: Library, num_rows: int) -> None:
    x, weight = numbers_of(num_rows, 41, 70)
    x, bias, kept = x / x.abs().amax(1, keepdim=True), torch.linspace(-1, 1, 41), KeptTensors()
    matrix = kept.int8_matrix(weight, bias)
    assert matrix.numbers == Numbers.INT8
    twin = Int8Linear(weight, bias)
    expected = x.double() @ (twin.numbers.double() * twin.scales.double().unsqueeze(1)).T + bias
    torch.testing.assert_close(product(compiled, matrix, x), expected.float(), atol=1e-5, rtol=1e-5)
    assert (expected - (x.double() @ weight.double().T + bias)).abs().max() > 1e-4, "nothing was rounded"


class Int8Model(Model):
    """The model of the other kernel tests, its blocks in int8; adapters as there."""

    def __init__(self, compiled: Library, config: BackboneConfig = TINY, **sets: tuple[object, ...]) -> None:
        super().__init__(compiled, config, **sets)  # type: ignore[arg-type]
        weights = self.backbone.state_dict()
        self.exact, self.kernel = self.kernel, BackboneKernel(config, weights, compiled, WeightFormat.INT8)


def differences(got: Tensor, twin: Tensor, exact: Tensor) -> tuple[float, float]:
    """Of int8 to its twin and to float32: the largest, over the standard deviation of what float32 gives."""
    size = exact.std()
    return float((got - twin).abs().max() / size), float((got - exact).abs().max() / size)


@torch.inference_mode()
@pytest.mark.parametrize("config", [TINY, ODD], ids=["tiny", "odd"])
@pytest.mark.parametrize("slots", [[0], [1], [2], [1, 0, 2, 1], [2, 1, 0] * 9], ids=str)
def test_decoding_is_what_the_twin_gives_and_near_to_float32(
    compiled: Library, config: BackboneConfig, slots: list[int]
) -> None:
    """A product's input may fall on the other side of a rounding in the twin, which moves a logit by a step."""
    model = Int8Model(compiled, config)
    tokens = tokens_of(len(slots))
    got = model.steps(slots, tokens)
    cache = model.cache(slots)
    exact = torch.stack([model.exact.decode_step(newest, cache, model.sets(slots)) for newest in tokens])
    use_int8(model.backbone)
    cache = model.cache(slots)
    twin = torch.stack([model.plain(newest, cache, slots) for newest in tokens])
    to_twin, to_exact = differences(got, twin, exact)
    assert to_twin < 0.02
    assert 1e-4 < to_exact < 0.15


@torch.inference_mode()
@pytest.mark.parametrize("lengths", [[1], [33], [95, 1], [300, 2, 150], [11] * 30], ids=str)
def test_encoding_is_what_the_twin_gives_and_near_to_float32(compiled: Library, lengths: list[int]) -> None:
    model = Int8Model(compiled, LONG, sets=SETS)
    texts, slots = texts_of(lengths), [number % 3 for number in range(len(lengths))]
    got = torch.cat(hidden_of(model, texts, slots))
    token_ids, mask = pad(texts, 0)
    exact = model.vae.plain_encode_hidden(token_ids, mask, AdapterIndex.of(slots))[mask]
    use_int8(model.backbone)
    twin = model.vae.plain_encode_hidden(token_ids, mask, AdapterIndex.of(slots))[mask]
    to_twin, to_exact = differences(got, twin, exact)
    assert to_twin < 0.05
    assert 1e-4 < to_exact < 0.3


@torch.inference_mode()
def test_a_row_has_the_same_bits_in_any_company_on_any_number_of_threads_and_by_any_way() -> None:
    compiled = compiled_with_any()
    model, slots = Int8Model(compiled), [row % 3 for row in range(41)]
    tokens = tokens_of(len(slots))
    together = model.steps(slots, tokens)
    for row in (0, 7, 40):
        cache = model.cache(slots).select(torch.tensor([row]))
        for step, newest in enumerate(tokens[:, row : row + 1]):
            alone = model.kernel.decode_step(newest.contiguous(), cache, model.sets(slots[row : row + 1]))
            assert torch.equal(alone[0], together[step, row])
    for way, num_threads in _others():
        other = Int8Model(compiled_with(way))
        before = torch.get_num_threads()
        torch.set_num_threads(num_threads)
        try:
            assert torch.equal(other.steps(slots, tokens), together)
        finally:
            torch.set_num_threads(before)


def _others() -> Iterator[tuple[Int8Way, int]]:
    yield from ((way, num_threads) for way in ways_of(best_compiled()) for num_threads in (1, 2, 5))


@torch.inference_mode()
def test_a_text_has_the_same_bits_in_any_company(compiled: Library) -> None:
    model = Int8Model(compiled, LONG, sets=SETS)
    texts, slots = texts_of([5, 120, 1, 33, 64, 7, 250, 12]), [0, 1, 2, 0, 1, 2, 2, 0]
    together = hidden_of(model, texts, slots)
    for number, (text, slot) in enumerate(zip(texts, slots, strict=True)):
        assert torch.equal(hidden_of(model, [text], [slot])[0], together[number])


@torch.inference_mode()
def test_a_row_that_overflows_leaves_the_others_alone(compiled: Library) -> None:
    model, slots = Int8Model(compiled), [0, 0, 1]
    tokens = tokens_of(3)[0]
    fine, broken = model.cache(slots), model.cache(slots)
    broken.keys[:, 1] = torch.nan
    expected, got = (model.kernel.decode_step(tokens, cache, model.sets(slots)) for cache in (fine, broken))
    assert got[1].isnan().all()
    assert torch.equal(got[[0, 2]], expected[[0, 2]])


@torch.inference_mode()
def test_adapters_and_the_layers_around_z_are_in_int8_too_and_near_to_what_they_were() -> None:
    compiled = compiled_with_any()
    exact, rounded = Int8Model(compiled), in_int8(Int8Model(compiled))
    packed = rounded.sets([0])[0]
    assert (packed.decoder.adapters[0].up.numbers, packed.latent.mu.numbers) == (Numbers.INT8_FOUR, Numbers.INT8)
    slots = [0, 1, 2, 0]
    expected, got = (model.steps(slots, tokens_of(4)) for model in (exact, rounded))
    assert 1e-4 < float((got - expected).abs().max() / expected.std()) < 0.2


def in_int8(model: Model) -> Model:
    """The same with its sets' layers in int8."""
    model.bank.weight_format = WeightFormat.INT8
    for slot, config in enumerate(model.bank.configs):
        assert config is not None
        model.bank.load(slot, config, model.bank.export(slot))
    return model


@torch.inference_mode()
@pytest.mark.parametrize("slot", range(len(LATENT_SETS)))
def test_keys_and_values_made_from_z_are_what_the_twin_gives_in_any_company(compiled: Library, slot: int) -> None:
    """z is multiplied as float32, the vectors made from it as bytes."""
    slots = [slot, 0, slot, 4, 5, slot] * 3
    model = in_int8(model_of(compiled, sets=LATENT_SETS))
    keys, values, _ = memory(model, slots)
    z, config, tensors = z_of(model, slots), LATENT_SETS[slot], model.bank.export(slot)
    projection = Int8Linear(tensors["latent_memory.projection.weight"], None)
    vectors = z[:, : config.latent_size] @ (projection.numbers * projection.scales.unsqueeze(1)).T
    vectors = vectors.view(len(slots), config.latent_positions, -1)  # (B, M, C)
    way = "psa" if config.latent_infusion.has_psa else "atm"
    first = 0 if way == "psa" else model.bank.shape.latent_positions * model.bank.shape.has_psa
    for row in (0, 2, len(slots) - 1):
        alone = model.bank.decoder_memory(z[row : row + 1], AdapterIndex.of([slot]))
        assert torch.equal(alone.keys[:, 0], keys[row]) and torch.equal(alone.values[:, 0], values[row])
        for layer in range(TINY.n_layer):
            name = f"latent_memory.{way}.{layer}"
            twin = Int8Linear(tensors[f"{name}.weight"], tensors.get(f"{name}.bias"))(vectors[row])
            for got, expected in zip((keys, values), twin.chunk(2, 1) if way == "psa" else (twin, twin), strict=True):
                heads = got[row, layer, :, first : first + config.latent_positions].transpose(0, 1)
                worst = float((heads.flatten(1) - expected).abs().max() / expected.std())
                assert worst < 0.02, "more than a number that falls on the other side of a rounding"


def test_it_is_what_decode_step_uses_where_it_is_chosen() -> None:
    model, slots = Int8Model(compiled_with_any()), [0, 1]
    tokens = tokens_of(2)[0]
    model.backbone.pack(WeightFormat.INT8)
    assert model.backbone.weight_format is WeightFormat.INT8
    with torch.inference_mode():
        expected = model.kernel.decode_step(tokens, model.cache(slots), model.sets(slots))
        assert torch.equal(model.vae.decode_step(tokens, model.cache(slots), AdapterIndex.of(slots)), expected)
        exact = model.exact.decode_step(tokens, model.cache(slots), model.sets(slots))
    assert not torch.equal(expected, exact)


def test_what_no_processor_multiplies_is_taken_in_float16_with_a_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compiled = replace(best_compiled(), int8_way=Int8Way.NONE)
    monkeypatch.setattr("adavae.model.kernel.backbone_kernel.library_for", lambda _: compiled)
    model = Model(best_compiled())
    with caplog.at_level(logging.WARNING):
        model.backbone.pack(WeightFormat.INT8)
    assert model.backbone.weight_format is WeightFormat.FLOAT16
    assert "float16 is taken" in caplog.text and "does not multiply bytes" in caplog.text


REFUSED = """
import ctypes, sys
from adavae.model.kernel.library import Int8Way, variant

class Stack(ctypes.Structure):
    _fields_ = [("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

room = ctypes.create_string_buffer(2048)  # too small a stack for signals to hold the tiles: Linux refuses them
stack = Stack(ctypes.addressof(room), 0, len(room))
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0
found = variant("avx512")
assert found is not None and found.int8_way is Int8Way.DOT, found
"""


def test_where_the_system_refuses_tiles_vnni_is_taken() -> None:
    compiled_with(Int8Way.AMX)
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
