"""Whole texts: greedy, sampled and beams, each row by itself, over a table and over a real tiny model."""

import itertools

import pytest
import torch
from torch import Tensor

from adavae.model.adavae import AdaVAE
from adavae.model.decoding.beam_search import _extended, _Hypothesis
from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.generation import generate
from adavae.model.decoding.step_decoder import Generated
from adavae.model.errors import AdaVAEError, ConfigError, LogitsNotFinite
from adavae.model.parts.stacked import AdapterIndex
from tests.table_decoder import EOS, Table, TableDecoder, exhaustive_best, latents, random_table, slow_generate
from tests.tiny import PLAIN, TINY, VARIANTS, mixed_bank, tiny_backbone, tiny_vae

V = 12
TABLE = random_table(V, eos_bias=1.0)
MIXED = (
    Decoding(max_tokens=6),
    Decoding(strategy=Strategy.SAMPLE, seed=5, max_tokens=9),
    Decoding(strategy=Strategy.BEAM, num_beams=3, max_tokens=7),
    Decoding(repetition_penalty=1.5, max_tokens=8),
    Decoding(strategy=Strategy.SAMPLE, seed=6, temperature=1.4, top_k=6, top_p=0.9, max_tokens=3),
    Decoding(strategy=Strategy.SAMPLE, seed=7, repetition_penalty=3.0, max_tokens=12),
    Decoding(strategy=Strategy.BEAM, num_beams=2, repetition_penalty=2.0, max_tokens=4),
    Decoding(max_tokens=1, min_tokens=1),
)
KEYS = (0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5)
SLOTS = (0, 1, 0, 2, 1, 0, 2, 1)


def run(
    table: Table, keys: tuple[float, ...], slots: tuple[int, ...], decodings: tuple[Decoding, ...]
) -> list[Generated]:
    return generate(TableDecoder(table), latents(*keys), AdapterIndex.of(slots), decodings)


def chain(*tokens: int) -> Table:
    """A table that writes ``tokens`` and nothing else, one after the other."""

    def table(_key: float, _slot: int, text: tuple[int, ...]) -> list[float]:
        return [5.0 if token == tokens[len(text)] else 0.0 for token in range(V)]

    return table


def test_greedy_writes_the_likeliest_tokens_until_end_of_text() -> None:
    assert run(chain(3, 1, 4, EOS), (1.0,), (0,), (Decoding(),)) == [Generated((3, 1, 4), "stop")]


@pytest.mark.parametrize("strategy", [Strategy.GREEDY, Strategy.BEAM])
def test_a_text_can_be_empty(strategy: Strategy) -> None:
    assert run(chain(EOS), (1.0,), (0,), (Decoding(strategy=strategy, num_beams=1),)) == [Generated((), "stop")]


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("min_tokens", [1, 3])
def test_a_text_does_not_end_before_its_least_number_of_tokens(strategy: Strategy, min_tokens: int) -> None:
    decoding = Decoding(strategy=strategy, num_beams=2, max_tokens=6, min_tokens=min_tokens)
    results = run(random_table(V, eos_bias=20.0), KEYS, SLOTS, (decoding,) * len(KEYS))
    assert {len(result.token_ids) for result in results} == {min_tokens}


def test_more_tokens_at_least_than_at_most_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"min_tokens is 4: must be in \[0, 3\]"):
        Decoding(max_tokens=3, min_tokens=4)


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("max_tokens", [1, 2, 5])
def test_a_text_that_does_not_end_is_cut_at_max_tokens(strategy: Strategy, max_tokens: int) -> None:
    table = random_table(V, eos_bias=-50.0)
    (row,) = run(table, (1.0,), (0,), (Decoding(strategy=strategy, max_tokens=max_tokens),))
    assert len(row.token_ids) == max_tokens
    assert row.finish_reason == "length"


def test_end_of_text_right_after_the_last_allowed_token_is_not_asked_for() -> None:
    assert run(chain(3, 1, EOS), (1.0,), (0,), (Decoding(max_tokens=2),)) == [Generated((3, 1), "length")]


@pytest.mark.parametrize(
    "decoding", [decoding for decoding in MIXED if decoding.strategy is not Strategy.BEAM], ids=str
)
def test_greedy_and_sampled_rows_equal_the_slow_twin(decoding: Decoding) -> None:
    expected = [slow_generate(TABLE, key, slot, decoding) for key, slot in zip(KEYS, SLOTS, strict=True)]
    assert run(TABLE, KEYS, SLOTS, (decoding,) * len(KEYS)) == expected
    assert len(set(expected)) > 1, "rows that are all alike show nothing"


@pytest.mark.parametrize("penalty", [1.0, 2.0])
@pytest.mark.parametrize(("vocab_size", "max_tokens"), [(4, 3), (3, 4), (8, 2), (16, 1)])
def test_beams_wide_enough_find_the_best_of_all_texts(vocab_size: int, max_tokens: int, penalty: float) -> None:
    table = random_table(vocab_size)
    decoding = Decoding(strategy=Strategy.BEAM, num_beams=16, max_tokens=max_tokens, repetition_penalty=penalty)
    keys = tuple(float(key) for key in range(40))
    expected = [exhaustive_best(table, key, 0, decoding, vocab_size) for key in keys]
    assert run(table, keys, (0,) * len(keys), (decoding,) * len(keys)) == expected
    greedy = run(table, keys, (0,) * len(keys), (Decoding(max_tokens=max_tokens, repetition_penalty=penalty),) * 40)
    assert max_tokens == 1 or greedy != expected, "greedy finds them too: nothing was searched"


@pytest.mark.parametrize("eos_bias", [-1.0, 1.0, 3.0])
@pytest.mark.parametrize("penalty", [1.0, 1.7])
def test_one_beam_is_greedy(eos_bias: float, penalty: float) -> None:
    table = random_table(V, eos_bias)
    keys = tuple(float(key) for key in range(60))
    slots = (0,) * len(keys)
    beam = Decoding(strategy=Strategy.BEAM, num_beams=1, max_tokens=6, repetition_penalty=penalty)
    greedy = Decoding(max_tokens=6, repetition_penalty=penalty)
    assert run(table, keys, slots, (beam,) * len(keys)) == run(table, keys, slots, (greedy,) * len(keys))


def test_more_beams_than_tokens_do_no_harm() -> None:
    table = random_table(2)
    decoding = Decoding(strategy=Strategy.BEAM, num_beams=16, max_tokens=5)
    assert run(table, (1.0,), (0,), (decoding,)) == [exhaustive_best(table, 1.0, 0, decoding, 2)]


def test_beams_find_a_text_that_greedy_walks_past() -> None:
    def table(_key: float, _slot: int, text: tuple[int, ...]) -> list[float]:
        likely = {(): {1: 0.5, 2: 0.4}, (2,): {EOS: 0.95}}.get(text, {3: 0.3, 4: 0.3, EOS: 0.2})
        rest = (1 - sum(likely.values())) / (V - len(likely))
        return torch.tensor([likely.get(token, rest) for token in range(V)]).log().tolist()

    beam = Decoding(strategy=Strategy.BEAM, num_beams=2, max_tokens=5)
    assert run(table, (1.0, 1.0), (0, 0), (Decoding(max_tokens=5), beam)) == [
        Generated((1, 3, 3, 3, 3), "length"),
        Generated((2,), "stop"),
    ]


@pytest.mark.parametrize("row", range(len(MIXED)))
def test_row_is_unchanged_by_its_neighbours(row: int) -> None:
    (alone,) = run(TABLE, KEYS[row : row + 1], SLOTS[row : row + 1], MIXED[row : row + 1])
    assert run(TABLE, KEYS, SLOTS, MIXED)[row] == alone
    assert run(TABLE, KEYS[: row + 1], SLOTS[: row + 1], MIXED[: row + 1])[-1] == alone
    many = run(TABLE, (KEYS[row],) * 5, (SLOTS[row],) * 5, (MIXED[row],) * 5)
    assert many == [alone] * 5


@pytest.mark.parametrize("seed", range(5))
def test_order_of_rows_changes_nothing_but_the_order_of_results(seed: int) -> None:
    order = torch.randperm(len(MIXED), generator=torch.Generator().manual_seed(seed)).tolist()
    keys, slots, decodings = zip(*((KEYS[row], SLOTS[row], MIXED[row]) for row in order), strict=True)
    mixed = run(TABLE, keys, slots, decodings)
    straight = run(TABLE, KEYS, SLOTS, MIXED)
    assert mixed == [straight[row] for row in order]


def test_same_seed_writes_the_same_text_and_another_seed_another() -> None:
    table = random_table(200, spread=0.5)
    decodings = tuple(Decoding(strategy=Strategy.SAMPLE, seed=seed, max_tokens=10) for seed in (1, 1, 2, 3))
    first, again, *others = run(table, (1.0,) * 4, (0,) * 4, decodings)
    assert first == again == run(table, (1.0,), (0,), decodings[:1])[0]
    assert len({first, *others}) == 3


def test_rows_that_have_finished_leave_the_batch() -> None:
    decoder = TableDecoder(random_table(V, eos_bias=-50.0))
    decodings = [Decoding(max_tokens=max_tokens) for max_tokens in (1, 4, 2, 4)]
    generate(decoder, latents(1, 2, 3, 4), AdapterIndex.uniform(4), decodings)
    assert decoder.batch_sizes == [4, 3, 2, 2]


def test_tokens_are_told_as_they_are_chosen_and_beams_at_their_end() -> None:
    told: list[tuple[int, int]] = []
    table = random_table(V, eos_bias=-50.0)
    decodings = [
        Decoding(strategy=Strategy.BEAM, max_tokens=2),
        Decoding(max_tokens=3),
        Decoding(strategy=Strategy.SAMPLE, max_tokens=1),
        Decoding(max_tokens=2),
    ]
    rows = generate(
        TableDecoder(table), latents(1, 2, 3, 4), AdapterIndex.uniform(4), decodings, lambda *token: told.append(token)
    )
    assert [row for row, _ in told] == [1, 2, 3, 1, 3, 1, 0, 0]
    for number, row in enumerate(rows):
        assert tuple(token for row_number, token in told if row_number == number) == row.token_ids


def test_an_interrupt_from_on_token_ends_the_decoding_at_once() -> None:
    decoder = TableDecoder(random_table(V, eos_bias=-50.0))

    def interrupt(_row: int, _token_id: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(decoder, latents(1, 2), AdapterIndex.uniform(2), [Decoding()] * 2, interrupt)
    assert decoder.batch_sizes == [2]


def test_a_strong_repetition_penalty_repeats_no_token_while_there_are_others() -> None:
    def table(_key: float, _slot: int, _text: tuple[int, ...]) -> list[float]:
        return [-50.0, *(1.0 + token / 10 for token in range(1, V))]

    (row,) = run(table, (1.0,), (0,), (Decoding(repetition_penalty=10.0, max_tokens=V - 1),))
    assert row.token_ids == tuple(range(V - 1, 0, -1))


def test_no_rows_are_no_results() -> None:
    assert generate(TableDecoder(TABLE), torch.empty(0, 2), AdapterIndex.of([]), []) == []


def broken_at(length: int, value: float, key: float = 2.0) -> Table:
    """``TABLE`` with one number of one row's logits replaced from some length on."""

    def table(row_key: float, slot: int, text: tuple[int, ...]) -> list[float]:
        logits = list(TABLE(row_key, slot, text))
        logits[EOS] = -50.0
        if row_key == key and len(text) >= length:
            logits[3] = value
        return logits

    return table


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("length", [0, 2])
def test_a_row_whose_logits_are_not_finite_is_named_in_the_error(strategy: Strategy, value: float, length: int) -> None:
    """A latent far from all that was trained overflows; such rows were given arbitrary tokens without a word."""
    decodings = (Decoding(max_tokens=5), Decoding(max_tokens=1), Decoding(strategy=strategy, max_tokens=5), Decoding())
    with pytest.raises(LogitsNotFinite, match=r"row 2\b") as raised:
        run(broken_at(length, value), (0.0, 1.0, 2.0, 3.0), (0,) * 4, decodings)
    assert raised.value.rows == (2,)
    assert isinstance(raised.value, AdaVAEError)


def test_rows_go_on_as_before_once_the_broken_one_is_left_out() -> None:
    table, decodings = broken_at(1, float("nan")), MIXED[:3]
    with pytest.raises(LogitsNotFinite) as raised:
        run(table, (0.0, 2.0, 3.0), (0, 1, 2), decodings)
    kept = [row for row in range(3) if row not in raised.value.rows]
    assert kept == [0, 2]
    rest = run(table, (0.0, 3.0), (0, 2), (decodings[0], decodings[2]))
    assert rest == [
        run(table, (key,), (slot,), (decoding,))[0] for key, slot, decoding in ((0.0, 0, MIXED[0]), (3.0, 2, MIXED[2]))
    ]


def test_beams_that_differ_by_less_than_a_float32_shows_keep_their_order() -> None:
    """Sums had been rounded to float32 at every step."""
    beams = [_Hypothesis((1,), -100.0 - 1e-7, False), _Hypothesis((2,), -100.0, False)]
    parents, extended = _extended(beams, torch.zeros(2, 4), 2, 3, [])
    assert parents == [1, 1] and extended[0].log_prob == -100.0


def test_a_latent_that_overflows_the_model_is_an_error() -> None:
    z = torch.randn(3, PLAIN.latent_size, generator=torch.Generator().manual_seed(0))
    z[1] = 3e38
    with pytest.raises(LogitsNotFinite, match="row 1"):
        generate(tiny_vae(), z, AdapterIndex.uniform(3), [Decoding(max_tokens=4)] * 3)


def real_rows() -> tuple[Tensor, list[int], list[Decoding]]:
    slots = [slot for slot, _ in itertools.product(range(len(VARIANTS)), range(4))]
    z = torch.randn(len(slots), 6, generator=torch.Generator().manual_seed(9))
    strategies = [
        Decoding(max_tokens=9),
        Decoding(strategy=Strategy.SAMPLE, seed=3, max_tokens=12),
        Decoding(strategy=Strategy.BEAM, num_beams=3, max_tokens=6),
        Decoding(repetition_penalty=1.4, max_tokens=5),
    ]
    return z, slots, strategies * len(VARIANTS)


def test_rows_of_mixed_adapter_sets_are_decoded_as_each_set_alone_does() -> None:
    backbone = tiny_backbone()
    bank, alone = mixed_bank()
    z, slots, decodings = real_rows()
    mixed = generate(AdaVAE(backbone, bank), z, AdapterIndex.of(slots), decodings)
    for row, slot in enumerate(slots):
        narrow = z[row : row + 1, : VARIANTS[slot].latent_size]
        vae = AdaVAE(backbone, alone[slot])
        assert generate(vae, narrow, AdapterIndex.uniform(1), [decodings[row]]) == [mixed[row]]
    assert len(set(mixed)) > len(VARIANTS), "rows that are all alike show nothing"


def test_rows_of_mixed_adapter_sets_may_come_in_any_order() -> None:
    bank, _ = mixed_bank()
    vae = AdaVAE(tiny_backbone(), bank)
    z, slots, decodings = real_rows()
    straight = generate(vae, z, AdapterIndex.of(slots), decodings)
    order = torch.randperm(len(slots), generator=torch.Generator().manual_seed(1))
    rows = order.tolist()
    index = AdapterIndex.of([slots[row] for row in rows])
    assert generate(vae, z[order], index, [decodings[row] for row in rows]) == [straight[row] for row in rows]


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_text_can_fill_the_whole_context(strategy: Strategy) -> None:
    z = torch.randn(2, PLAIN.latent_size, generator=torch.Generator().manual_seed(2))
    longest = TINY.n_positions - 1
    decoding = Decoding(strategy=strategy, max_tokens=longest, num_beams=2, seed=1)
    rows = generate(tiny_vae(), z, AdapterIndex.uniform(2), [decoding] * 2)
    assert max(len(row.token_ids) for row in rows) <= longest
    assert all(row.finish_reason == "length" for row in rows if len(row.token_ids) == longest)
    assert all(TINY.eos_token_id not in row.token_ids for row in rows)


def test_latents_are_left_as_they_were() -> None:
    z = torch.randn(2, PLAIN.latent_size, generator=torch.Generator().manual_seed(2))
    before = z.clone()
    generate(tiny_vae(), z, AdapterIndex.uniform(2), [Decoding(max_tokens=3)] * 2)
    assert torch.equal(z, before)
