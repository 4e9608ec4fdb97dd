"""The compiled encoder blocks against the same through PyTorch, and against themselves in other company."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from adavae.model.adavae import pad
from adavae.model.config import Activation, BackboneConfig, EncoderAttention
from adavae.model.kernel.library import KINDS, Library
from adavae.model.kernel.packing import PackedAdapterSet
from adavae.model.parts.stacked import AdapterIndex
from tests.parity.compiled import RUNS, best_compiled, compiled_for
from tests.parity.test_kernel_decode import ODD, Model
from tests.tiny import PREFIXED, TINY, VARIANTS

SETS = (*VARIANTS[:1], replace(PREFIXED, prefix_length=0), *VARIANTS[2:])  # the kernel knows no encoder prefix
LONG = replace(TINY, n_positions=300)


@pytest.fixture(params=RUNS)
def compiled(request: pytest.FixtureRequest) -> Library:
    return compiled_for(request.param)


def texts_of(lengths: list[int], vocab_size: int = TINY.vocab_size) -> list[list[int]]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(vocab_size, (length,), generator=generator).tolist() for length in lengths]


def hidden_of(model: Model, texts: list[list[int]], slots: list[int]) -> list[Tensor]:
    """Of each text, (T, C), by the compiled way."""
    token_ids, mask = pad(texts, 0)
    hidden = model.kernel.encode_hidden(token_ids, mask, model.sets(slots))
    assert not hidden[~mask].any(), "padding is not zero"
    return [states[: len(text)] for states, text in zip(hidden, texts, strict=True)]


def check_against_plain(model: Model, texts: list[list[int]], slots: list[int]) -> None:
    token_ids, mask = pad(texts, 0)
    plain = model.vae.plain_encode_hidden(token_ids, mask, AdapterIndex.of(slots))
    for got, expected, text in zip(hidden_of(model, texts, slots), plain, texts, strict=True):
        torch.testing.assert_close(got, expected[: len(text)], atol=2e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("slots", [[0] * 4, [1] * 4, [2] * 4, [1, 0, 2, 1], [2, 2, 0, 0]], ids=str)
def test_every_placement_and_depth_alone_and_mixed_gives_what_pytorch_gives(
    compiled: Library, slots: list[int]
) -> None:
    check_against_plain(Model(compiled, sets=SETS), texts_of([3, 9, 1, 6]), slots)


@torch.inference_mode()
@pytest.mark.parametrize("slots", [[0] * 4, [1, 0, 1, 0]], ids=str)
def test_a_causal_encoder_gives_what_pytorch_gives_beside_others_too(compiled: Library, slots: list[int]) -> None:
    causal = replace(SETS[0], encoder_attention=EncoderAttention.CAUSAL)
    check_against_plain(Model(compiled, sets=(causal, SETS[1])), texts_of([3, 37, 1, 6]), slots)


@torch.inference_mode()
def test_a_causal_encoder_leaves_what_stands_before_a_changed_token_as_it_was(compiled: Library) -> None:
    model = Model(compiled, sets=(replace(SETS[0], encoder_attention=EncoderAttention.CAUSAL),))
    (text,) = texts_of([9])
    (before,), (after,) = hidden_of(model, [text], [0]), hidden_of(model, [[*text[:-1], text[-1] ^ 1]], [0])
    assert torch.equal(before[:-1], after[:-1])
    assert not torch.allclose(before[-1], after[-1], atol=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize("activation", list(Activation))
@pytest.mark.parametrize("config", [TINY, ODD], ids=["tiny", "odd"])
def test_every_activation_and_odd_sizes(compiled: Library, config: BackboneConfig, activation: Activation) -> None:
    model = Model(compiled, replace(config, activation=activation), SETS)
    check_against_plain(model, texts_of([7, 2, 12]), [0, 1, 2])


@torch.inference_mode()
@pytest.mark.parametrize(
    "lengths", [[1], [31], [32], [33], [257], [95, 1], [96, 97], [300, 2, 150], [11] * 30], ids=str
)
def test_any_length_and_number_of_texts(compiled: Library, lengths: list[int]) -> None:
    slots = [number % 3 for number in range(len(lengths))]
    check_against_plain(Model(compiled, LONG, SETS), texts_of(lengths), slots)


@torch.inference_mode()
def test_a_text_has_the_same_bits_in_any_company(compiled: Library) -> None:
    model = Model(compiled, LONG, SETS)
    texts, slots = texts_of([5, 120, 1, 33, 64, 7, 250, 12]), [0, 1, 2, 0, 1, 2, 2, 0]
    together = hidden_of(model, texts, slots)
    for number, (text, slot) in enumerate(zip(texts, slots, strict=True)):
        assert torch.equal(hidden_of(model, [text], [slot])[0], together[number])


@torch.inference_mode()
def test_a_text_has_the_same_posterior_bit_for_bit_in_any_company() -> None:
    """Pooling a whole batch had cut its sums by the batch's shape: mu differed in its last bits."""
    model = Model(best_compiled(), LONG, (replace(SETS[0], latent_heads=8), *SETS[1:]))
    model.backbone.kernel = model.kernel
    texts, slots = texts_of([3, 40, 1, 97, 20, 64, 7, 33, 150, 12, 5, 80]), [0, 1, 2] * 4
    together = model.vae.encode(*pad(texts, 0), AdapterIndex.of(slots))
    for number, (text, slot) in enumerate(zip(texts, slots, strict=True)):
        alone = model.vae.encode(*pad([text], 0), AdapterIndex.of([slot]))
        assert torch.equal(alone.mu[0], together.mu[number])
        assert torch.equal(alone.logvar[0], together.logvar[number])


@torch.inference_mode()
def test_the_number_of_threads_changes_no_bit(compiled: Library) -> None:
    model, texts, slots = Model(compiled, LONG, SETS), texts_of([40, 200, 3]), [0, 1, 2]
    before = torch.get_num_threads()
    try:
        results = []
        for num_threads in (1, 2, 5):
            torch.set_num_threads(num_threads)
            results.append(torch.cat(hidden_of(model, texts, slots)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@torch.inference_mode()
@pytest.mark.parametrize("num_threads", [5, 6, 9])
def test_one_text_less_than_threads(compiled: Library, num_threads: int) -> None:
    """Equal texts for all threads but one were taken for even shares; one was empty, and read beyond its end."""
    model = Model(compiled, LONG, sets=SETS)
    texts = texts_of([7] * (num_threads - 1))
    slots = [0] * len(texts)
    expected, before = hidden_of(model, texts, slots), torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        got = hidden_of(model, texts, slots)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))


@torch.inference_mode()
def test_an_adapter_that_overflows_leaves_other_texts_alone(compiled: Library) -> None:
    model, texts = Model(compiled, sets=SETS), texts_of([4, 5])
    expected = hidden_of(model, texts, [0, 1])
    tensors = model.bank.export(0)
    tensors["encoder_adapters.0.placed.parallel_ffn.up.bias"].fill_(torch.nan)
    model.bank.load(0, SETS[0], tensors)
    got = hidden_of(model, texts, [0, 1])
    assert got[0].isnan().all()
    assert torch.equal(got[1], expected[1])


@torch.inference_mode()
@pytest.mark.parametrize("token_id", [-1, TINY.vocab_size])
def test_a_token_outside_the_vocabulary_is_refused(compiled: Library, token_id: int) -> None:
    model = Model(compiled, sets=SETS)
    with pytest.raises(IndexError, match="token"):
        hidden_of(model, [[1, 2], [3, token_id]], [0, 1])


@torch.inference_mode()
def test_a_text_longer_than_the_context_is_refused(compiled: Library) -> None:
    with pytest.raises(IndexError, match="long"):
        hidden_of(Model(compiled, sets=SETS), texts_of([TINY.n_positions + 1]), [0])


@torch.inference_mode()
def test_where_the_time_goes_is_told_to_who_asks(compiled: Library) -> None:
    model = Model(compiled, sets=SETS)
    model.kernel.seconds = torch.zeros(len(KINDS), dtype=torch.float64)
    hidden_of(model, texts_of([30, 30]), [0, 1])
    assert (model.kernel.seconds > 0).all()


@pytest.mark.parametrize(("slots", "is_compiled"), [([0, 2], True), ([0, 1], False)], ids=["plain", "prefix"])
def test_it_is_what_encode_uses_except_for_prefixes_and_while_training(slots: list[int], is_compiled: bool) -> None:
    model, index = Model(best_compiled()), AdapterIndex.of(slots)  # the set of slot 1 has a prefix
    model.backbone.pack()
    assert model.backbone.kernel is not None
    model.backbone.kernel.seconds = seconds = torch.zeros(len(KINDS), dtype=torch.float64)
    token_ids, mask = pad(texts_of([6, 3]), 0)
    with_gradients = model.vae.encode(token_ids, mask, index)
    assert not seconds.any()
    with torch.inference_mode():
        posterior = model.vae.encode(token_ids, mask, index)
    assert bool(seconds.any()) is is_compiled
    torch.testing.assert_close(posterior.mu, with_gradients.mu.detach(), atol=2e-5, rtol=1e-5)


@torch.inference_mode()
def test_without_adapters_it_is_the_bare_blocks(compiled: Library) -> None:
    model, depth = Model(compiled, sets=SETS), 2
    token_ids, mask = pad(texts_of([5, 5]), 0)
    x = model.backbone.embed(token_ids, torch.arange(5))
    for block in model.backbone.blocks[:depth]:
        x = block(x)
    bare = PackedAdapterSet.bare(depth, TINY.n_layer)
    hidden = model.kernel.encode_hidden(token_ids, mask, [bare, bare])
    torch.testing.assert_close(hidden, model.backbone.ln_f(x), atol=2e-5, rtol=1e-5)
