"""Adapters, the bank's slots and the adapter index."""

from dataclasses import replace

import pytest
import torch

from adavae.model.adavae import AdaVAE, pad
from adavae.model.config import AdapterConfig
from adavae.model.errors import AdapterSetMismatch, ConfigError
from adavae.model.parts.adapter_bank import AdapterBank, adapter_shapes
from adavae.model.parts.bank_shape import BankShape
from adavae.model.parts.bottleneck import BottleneckAdapter
from adavae.model.parts.stacked import AdapterIndex, StackedLinear
from tests.tiny import PLAIN, POOLED, PREFIXED, TINY, VARIANTS, mixed_bank, tiny_backbone, trained_bank

ROWS = [[5, 6, 7], [8, 9, 10, 11, 12], [1, 2]]


def test_an_untrained_adapter_changes_nothing() -> None:
    adapter = BottleneckAdapter(1, n_embd=8, adapter_size=3)
    assert not adapter(torch.randn(2, 4, 8), AdapterIndex.uniform(2)).any()


def test_an_untrained_set_leaves_the_bare_language_model_in_place_but_for_the_latent() -> None:
    """Only the latent's key and value move the decoder; with its value hidden from attention nothing differs."""
    backbone = tiny_backbone()
    vae = AdaVAE(backbone, AdapterBank.for_training(TINY, PLAIN))
    ids, mask = pad(ROWS, 0)
    x = backbone.embed(ids, torch.arange(ids.shape[1]))
    with_adapters = backbone.blocks[0](x, mask[:, None, None], None, vae.bank.encoder_layer(0, AdapterIndex.uniform(3)))
    assert torch.equal(with_adapters, backbone.blocks[0](x, mask[:, None, None]))


@pytest.mark.parametrize(
    "slots",
    [[2, 0, 2, 1], [0, 1, 2], [2, 1, 0], [3, 3, 3], [5, 0, 5], [4, 1, 2, 4, 1, 2], [1, 3, 2, 3], [2, 4, 2, 5, 4, 5]],
    ids=str,
)
@pytest.mark.parametrize("has_bias", [True, False])
def test_stacked_linear_gives_each_row_its_own_layer(slots: list[int], has_bias: bool) -> None:
    stacked = StackedLinear(6, 4, 5)
    torch.nn.init.normal_(stacked.bias)  # type: ignore[arg-type]
    x = torch.randn(len(slots), 2, 4)
    if not has_bias:
        stacked.bias = None
    output = stacked(x, AdapterIndex.of(slots))
    for row, slot in enumerate(slots):
        expected = x[row] @ stacked.weight[slot].T + (0.0 if stacked.bias is None else stacked.bias[slot])
        torch.testing.assert_close(output[row], expected)


def test_rows_of_a_batch_go_as_one_product_where_few_places_stay_empty() -> None:
    assert AdapterIndex.of([3, 1, 2, 3, 1, 2]).grid == (1, 3)
    assert AdapterIndex.of([1, 3, 2, 3]).grid == (1, 3)  # six places for four rows
    assert AdapterIndex.of([0, 5]).grid is None
    assert AdapterIndex.of([4, 4]).grid is None


def test_adapter_index_selects_and_repeats_rows() -> None:
    index = AdapterIndex.of([3, 1, 3])
    assert index.only_slot is None
    assert index.select(torch.tensor([2, 0])).slots == (3, 3)
    assert index.select(torch.tensor([2, 0])).only_slot == 3
    assert len(index.select(torch.tensor([0, 0, 1, 1]))) == 4


@pytest.mark.parametrize("config", VARIANTS)
def test_export_and_load_are_inverse(config: AdapterConfig) -> None:
    trained = trained_bank(config)
    tensors = trained.export()
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == adapter_shapes(config, TINY)
    bank = AdapterBank(TINY, BankShape.covering([config]))
    bank.load(0, config, tensors)
    for name, tensor in bank.export().items():
        torch.testing.assert_close(tensor, tensors[name])


def test_loading_over_a_larger_set_leaves_nothing_of_it() -> None:
    bank, alone = mixed_bank()
    bank.load(1, PLAIN, alone[0].export())
    backbone = tiny_backbone()
    ids, mask = pad(ROWS, 0)
    first = AdaVAE(backbone, bank).encode(ids, mask, AdapterIndex.uniform(3, slot=0))
    second = AdaVAE(backbone, bank).encode(ids, mask, AdapterIndex.uniform(3, slot=1))
    assert torch.equal(first.mu, second.mu)


def test_a_set_larger_than_the_bank_is_refused() -> None:
    bank = AdapterBank(TINY, BankShape.covering([PLAIN]))
    with pytest.raises(AdapterSetMismatch, match="larger than the bank"):
        bank.load(0, PREFIXED, trained_bank(PREFIXED).export())


def test_a_set_with_a_missing_tensor_is_refused() -> None:
    tensors = trained_bank(PLAIN).export()
    del tensors["posterior.mu.weight"]
    with pytest.raises(AdapterSetMismatch, match="shapes"):
        AdapterBank(TINY, BankShape.covering([PLAIN])).load(0, PLAIN, tensors)


def test_an_empty_slot_is_named() -> None:
    bank, _ = mixed_bank()
    ids, mask = pad(ROWS, 0)
    with pytest.raises(AdapterSetMismatch, match="slot 3"):
        AdaVAE(tiny_backbone(), bank).encode(ids, mask, AdapterIndex.uniform(3, slot=3))


def test_classifying_without_a_head_is_refused() -> None:
    with pytest.raises(AdapterSetMismatch, match="no classification head"):
        trained_bank(PLAIN).classify(torch.zeros(1, 4), AdapterIndex.uniform(1))


def test_a_set_deeper_than_the_backbone_is_refused() -> None:
    with pytest.raises(ConfigError, match="only 3 blocks"):
        AdapterBank.for_training(TINY, replace(POOLED, encoder_layers=4))


def test_the_prefix_mlp_is_dropped_after_training() -> None:
    names = set(trained_bank(PREFIXED).export())
    assert {"encoder_prefix.table", "decoder_prefix.table"} <= names
    assert not any(".down." in name or ".vectors" in name for name in names if "prefix" in name)


def test_a_set_moved_from_bank_to_bank_is_the_same_whatever_scale_the_banks_have() -> None:
    configs = (PLAIN, POOLED)  # POOLED's adapter scale is not 1
    alone = trained_bank(POOLED)
    first = AdapterBank.for_serving(TINY, BankShape.covering([POOLED], num_slots=2), torch.zeros(1))
    first.load(1, POOLED, alone.export())
    second = AdapterBank.for_serving(TINY, BankShape.covering(configs, num_slots=3), torch.zeros(1))
    second.load(2, POOLED, first.export(1))
    for name, tensor in alone.export().items():
        torch.testing.assert_close(second.export(2)[name], tensor)


def test_a_union_of_shapes_has_room_for_what_either_has_room_for() -> None:
    shapes = [BankShape.covering([config], num_slots=3) for config in VARIANTS]
    union = shapes[0].union(shapes[1]).union(shapes[2])
    bank = AdapterBank.for_serving(TINY, union, torch.zeros(1))
    assert all(bank.has_room_for(config) for config in VARIANTS)
    assert union.num_slots == 3
    assert union == replace(BankShape.covering(VARIANTS, num_slots=3), adapter_scale=union.adapter_scale)
