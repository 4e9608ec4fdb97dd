"""The compiled decoding step against the same step through PyTorch, and against itself in other company."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from adavae.model.adavae import AdaVAE
from adavae.model.backbone import Backbone
from adavae.model.config import Activation, AdapterConfig, BackboneConfig
from adavae.model.kernel.backbone_kernel import BackboneKernel
from adavae.model.kernel.library import Library, Numbers
from adavae.model.kernel.packing import PackedAdapterSet
from adavae.model.kv_cache import KVCache
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.bank_shape import BankShape
from adavae.model.parts.stacked import AdapterIndex
from tests.parity.compiled import RUNS, best_compiled, compiled_for
from tests.tiny import TINY, VARIANTS

ODD = replace(TINY, vocab_size=97, n_embd=40, n_inner=72, n_head=4)  # nothing is a multiple of 32
NUM_STEPS = 5


@pytest.fixture(params=RUNS)
def compiled(request: pytest.FixtureRequest) -> Library:
    return compiled_for(request.param)


class Model:
    """A random frozen backbone, a serving bank over it, and the compiled step."""

    def __init__(
        self, compiled: Library, config: BackboneConfig = TINY, sets: tuple[AdapterConfig, ...] = VARIANTS
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.backbone = Backbone(config).requires_grad_(False).eval()
        for parameter in self.backbone.parameters():
            parameter.copy_((torch.randn(parameter.shape, generator=generator) * 0.15).half())
        shape = BankShape.covering(sets)
        self.bank = AdapterBank.for_serving(config, shape, like=self.backbone.wte.weight)
        for slot, adapter_config in enumerate(sets):
            trained = AdapterBank.for_training(config, adapter_config)
            for parameter in trained.parameters():
                parameter.data.copy_((torch.randn(parameter.shape, generator=generator) * 0.2).half())
            self.bank.load(slot, adapter_config, trained.export())
        self.kernel = BackboneKernel(self.backbone.config, self.backbone.state_dict(), compiled)

    @property
    def vae(self) -> AdaVAE:
        return AdaVAE(self.backbone, self.bank)

    def cache(self, slots: list[int]) -> KVCache:
        """The cache of rows that have read nothing yet; a row's z depends on its slot and place alone."""
        z = torch.stack([self._z(slot, row) for row, slot in enumerate(slots)])
        return KVCache.starting_with(self.bank.decoder_memory(z, AdapterIndex.of(slots)), NUM_STEPS + 1)

    def _z(self, slot: int, row: int) -> Tensor:
        generator = torch.Generator().manual_seed(100 * slot + row)
        z = torch.randn(self.bank.shape.latent_size, generator=generator)
        z[self.bank.config_of(slot).latent_size :] = 0.0
        return z

    def sets(self, slots: list[int]) -> Sequence[PackedAdapterSet]:
        chosen = self.bank.compiled(self.kernel, AdapterIndex.of(slots))
        assert chosen is not None
        return chosen[1]

    def plain(self, tokens: Tensor, cache: KVCache, slots: list[int]) -> Tensor:
        return self.vae.plain_decode_step(tokens, cache, AdapterIndex.of(slots))

    def steps(self, slots: list[int], tokens: Tensor) -> Tensor:
        """Logits of every step by the compiled way, (steps, B, V)."""
        cache = self.cache(slots)
        return torch.stack([self.kernel.decode_step(newest, cache, self.sets(slots)) for newest in tokens])


def tokens_of(num_rows: int, vocab_size: int = TINY.vocab_size) -> Tensor:
    """(steps, B); a row's tokens depend on its place alone."""
    rows = [torch.Generator().manual_seed(7 + row) for row in range(num_rows)]
    return torch.stack([torch.randint(vocab_size, (NUM_STEPS,), generator=row) for row in rows], 1)


def check_against_plain(model: Model, slots: list[int]) -> None:
    ours, theirs = model.cache(slots), model.cache(slots)
    for tokens in tokens_of(len(slots)):
        got = model.kernel.decode_step(tokens, ours, model.sets(slots))
        torch.testing.assert_close(got, model.plain(tokens, theirs, slots), atol=1e-5, rtol=1e-5)
    for name in ("lengths", "is_filled"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))
    torch.testing.assert_close(ours.keys, theirs.keys, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.values, theirs.values, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("slots", [[0], [1], [2], [1, 0, 2, 1], [0] * 7, [2, 1, 0] * 9], ids=str)
def test_every_placement_alone_and_mixed_gives_what_pytorch_gives(compiled: Library, slots: list[int]) -> None:
    check_against_plain(Model(compiled), slots)


@torch.inference_mode()
@pytest.mark.parametrize("activation", list(Activation))
@pytest.mark.parametrize("config", [TINY, ODD], ids=["tiny", "odd"])
def test_every_activation_and_odd_sizes(compiled: Library, config: BackboneConfig, activation: Activation) -> None:
    check_against_plain(Model(compiled, replace(config, activation=activation)), [0, 1, 2, 2])


@torch.inference_mode()
@pytest.mark.parametrize("num_rows", [*range(1, 14), 24, 25, 64])
def test_any_number_of_rows(compiled: Library, num_rows: int) -> None:
    check_against_plain(Model(compiled), [row % 2 for row in range(num_rows)])


@torch.inference_mode()
def test_weights_that_half_precision_cannot_hold_are_read_whole(compiled: Library) -> None:
    model = Model(compiled)
    model.backbone.blocks[0].mlp.c_fc.weight += 1e-6
    model.kernel = BackboneKernel(model.backbone.config, model.backbone.state_dict(), compiled)
    fields = model.kernel.fields.layers[0]
    assert (fields.c_fc.numbers, fields.c_attn.numbers) == (Numbers.FLOAT32, Numbers.FLOAT16)
    check_against_plain(model, [0, 1, 2])


@torch.inference_mode()
def test_without_adapters_it_is_the_bare_backbone(compiled: Library) -> None:
    model = Model(compiled, sets=VARIANTS[:1])
    rows = torch.tensor([[5, 6, 7, 8, 9], [1, 2, 3, 4, 5]])
    whole = model.backbone(rows)
    L, H, D = TINY.n_layer, TINY.n_head, TINY.head_size
    cache = KVCache(
        keys=torch.zeros(L, 2, H, NUM_STEPS, D),
        values=torch.zeros(L, 2, H, NUM_STEPS, D),
        is_filled=torch.zeros(2, NUM_STEPS, dtype=torch.bool),
        lengths=torch.zeros(2, dtype=torch.int64),
        num_memory=0,
    )
    for t in range(NUM_STEPS):
        logits = model.kernel.decode_step(rows[:, t].contiguous(), cache, [PackedAdapterSet.bare(1, L)] * 2)
        torch.testing.assert_close(logits, whole[:, t], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_row_has_the_same_bits_in_any_company(compiled: Library) -> None:
    """Not only within a tolerance: no tie between two tokens can fall another way because of a neighbour."""
    model = Model(compiled)
    slots = [row % 3 for row in range(26)]
    tokens = tokens_of(len(slots))
    together = model.steps(slots, tokens)
    for row in (0, 7, 25):
        cache = KVCache.starting_with(
            model.bank.decoder_memory(model._z(slots[row], row).unsqueeze(0), AdapterIndex.of([slots[row]])),
            NUM_STEPS + 1,
        )
        beside = model.cache(slots).select(torch.tensor([row]))
        cache.keys.copy_(beside.keys), cache.values.copy_(beside.values)  # PyTorch's own products may differ by a bit
        for step, newest in enumerate(tokens[:, row : row + 1]):
            alone = model.kernel.decode_step(newest.contiguous(), cache, model.sets(slots[row : row + 1]))
            assert torch.equal(alone[0], together[step, row])


@torch.inference_mode()
def test_the_number_of_threads_changes_no_bit(compiled: Library) -> None:
    model, slots = Model(compiled), [0, 1, 2, 0, 1]
    before = torch.get_num_threads()
    try:
        results = []
        for num_threads in (1, 2, 5):
            torch.set_num_threads(num_threads)
            results.append(model.steps(slots, tokens_of(len(slots))))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_callers_on_many_threads_do_not_disturb_each_other(compiled: Library) -> None:
    """The team of threads serves one of them at a time; the others go alone."""
    model, slots = Model(compiled), [0, 1, 2]
    tokens = tokens_of(len(slots))
    with torch.inference_mode():
        expected = model.steps(slots, tokens)
    equal: list[bool] = []

    def decode() -> None:
        torch.set_num_threads(3)
        with torch.inference_mode():
            equal.extend(torch.equal(model.steps(slots, tokens), expected) for _ in range(30))

    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(equal) == 120 and all(equal)


@torch.inference_mode()
def test_a_row_that_overflows_leaves_the_others_alone(compiled: Library) -> None:
    model, slots = Model(compiled), [0, 0, 1]
    tokens = tokens_of(3)[0]
    fine, broken = model.cache(slots), model.cache(slots)
    broken.keys[:, 1] = torch.nan
    expected, got = (model.kernel.decode_step(tokens, cache, model.sets(slots)) for cache in (fine, broken))
    assert got[1].isnan().all()
    assert torch.equal(got[[0, 2]], expected[[0, 2]])


@torch.inference_mode()
@pytest.mark.parametrize("token_id", [-1, TINY.vocab_size, 2**40])
def test_a_token_outside_the_vocabulary_is_refused_and_changes_nothing(compiled: Library, token_id: int) -> None:
    model, slots = Model(compiled), [0, 1]
    cache, untouched = model.cache(slots), model.cache(slots)
    with pytest.raises(IndexError, match="token"):
        model.kernel.decode_step(torch.tensor([3, token_id]), cache, model.sets(slots))
    assert torch.equal(cache.lengths, untouched.lengths) and torch.equal(cache.is_filled, untouched.is_filled)


@torch.inference_mode()
def test_a_full_cache_is_refused(compiled: Library) -> None:
    model = Model(compiled)
    cache = model.cache([0])
    for _ in range(NUM_STEPS + 1):
        model.kernel.decode_step(torch.tensor([3]), cache, model.sets([0]))
    with pytest.raises(IndexError, match="long"):
        model.kernel.decode_step(torch.tensor([3]), cache, model.sets([0]))


@torch.inference_mode()
def test_rows_of_a_larger_cache_and_selected_rows(compiled: Library) -> None:
    """As continuous decoding and beams use it: views with strides of their own, and copies."""
    model, slots = Model(compiled), [0, 1, 2, 1]
    tokens = tokens_of(4)[0]
    expected = model.kernel.decode_step(tokens, model.cache(slots), model.sets(slots))
    whole = model.cache(slots)
    part = KVCache(whole.keys[:, 1:3], whole.values[:, 1:3], whole.is_filled[1:3], whole.lengths[1:3], whole.num_memory)
    assert torch.equal(model.kernel.decode_step(tokens[1:3], part, model.sets(slots[1:3])), expected[1:3])
    rows = torch.tensor([3, 0, 3])
    chosen = model.cache(slots).select(rows)
    chosen_slots = [slots[row] for row in rows]
    assert torch.equal(model.kernel.decode_step(tokens[rows], chosen, model.sets(chosen_slots)), expected[rows])


def test_it_is_what_decode_step_uses_where_nothing_is_trained() -> None:
    model, slots = Model(best_compiled()), [0, 1]
    tokens, index = tokens_of(2)[0], AdapterIndex.of([0, 1])
    model.backbone.pack()
    assert model.backbone.kernel is not None
    with torch.inference_mode():
        expected = model.kernel.decode_step(tokens, model.cache(slots), model.sets(slots))
        assert torch.equal(model.vae.decode_step(tokens, model.cache(slots), index), expected)
    plain = model.plain(tokens, model.cache(slots), slots)
    assert not torch.equal(plain, expected)  # or the next line would compare nothing
    assert torch.equal(model.vae.decode_step(tokens, model.cache(slots), index), plain)


FORKING = """
import os, sys, torch
from tests.parity.test_kernel_decode import Model, compiled_for, tokens_of
torch.set_num_threads(2)
with torch.inference_mode():
    model, slots, (tokens, *_) = Model(compiled_for(sys.argv[1])), [0, 1], tokens_of(2)
    caches = [model.cache(slots) for _ in range(2)]
    before, after = model.kernel.decode_step(tokens, caches[0], model.sets(slots)), None
    child = os.fork()  # in which only the compiled step is safe to call: PyTorch's own threads do not survive it
    after = model.kernel.decode_step(tokens, caches[1], model.sets(slots))
    if not child:
        os._exit(int((before - after).abs().max() != 0))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_forked_process_decodes_without_the_threads_it_left_behind(compiled: Library) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKING, compiled.instructions]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
