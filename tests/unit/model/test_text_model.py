"""From text to text: order, limits, refusals, and adapter sets of different latent sizes side by side."""

from pathlib import Path

import numpy as np
import pytest
import torch

from adavae.model.config import Interpolation
from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.errors import (
    AdapterSetMismatch,
    AdapterSetNotFound,
    ConfigError,
    LatentShapeError,
    LogitsNotFinite,
    SequenceTooLong,
)
from adavae.model.latent.direction import BetweenTexts
from adavae.model.storage.adapter_set import NewAdapterSet, write_adapter_set
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.text_model import TextModel
from tests.tiny import PLAIN, PREFIXED
from tests.tiny_text import N_POSITIONS, NAMED, reviews, tiny_pretrained, tiny_set, tiny_text_model

TEXTS = [
    "the food was good .",
    "bad",
    "our waiter was rude and the pizza was awful .",
    "na\u00efve \u2603 <|endoftext|>",
]
SHORT = Decoding(max_tokens=6)
LONG_TEXT = "the food was good . " * 30


@pytest.fixture(scope="module")
def mixed() -> TextModel:
    """Three sets of latent sizes 4, 6 and 3."""
    return tiny_text_model(NAMED)


@pytest.fixture(scope="module")
def plain() -> TextModel:
    return tiny_text_model({"plain": PLAIN})


def _published(root: Path, name: str, *, backbone_digest: str | None = None) -> None:
    pretrained = tiny_pretrained()
    write_adapter_set(
        root,
        NewAdapterSet(
            name=name,
            config=PREFIXED,
            tensors=tiny_set(PREFIXED).tensors,
            backbone_digest=backbone_digest or pretrained.digest,
            tokenizer_digest=pretrained.tokenizer.digest,
            metrics={},
            training={},
            created_at="2026-01-02T03:04:05+00:00",
            model_card="# card\n",
        ),
    )


def test_encodings_come_in_the_order_of_the_texts_whatever_batch_they_are_in(plain: TextModel) -> None:
    texts = [*TEXTS, *reviews(90).texts]  # more than one forward pass takes
    together = plain.encode(texts, "plain")
    assert together.mu.shape == together.logvar.shape == (94, 4)
    assert together.num_tokens == tuple(len(plain.tokenizer.encode(text)) for text in texts)
    for row in (0, 1, 2, 3, 60, 93):
        alone = plain.encode([texts[row]], "plain")
        torch.testing.assert_close(together.mu[row], alone.mu[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(together.logvar[row], alone.logvar[0], atol=1e-5, rtol=1e-5)
    backwards = plain.encode(texts[::-1], "plain")
    torch.testing.assert_close(backwards.mu.flip(0), together.mu, atol=1e-5, rtol=1e-5)
    assert float((together.mu[0] - together.mu[1]).abs().max()) > 1e-2, "texts must differ to tell their order"


def test_no_texts_give_no_encodings(plain: TextModel) -> None:
    encoded = plain.encode([], "plain")
    assert (encoded.mu.shape, encoded.num_tokens, encoded.is_truncated) == ((0, 4), (), ())


def test_an_empty_text_is_refused_by_its_number(plain: TextModel) -> None:
    with pytest.raises(ConfigError, match="text 1 is ''"):
        plain.encode(["good", ""], "plain")


def test_a_text_longer_than_the_context_is_refused_with_the_limit_and_the_remedy(plain: TextModel) -> None:
    with pytest.raises(SequenceTooLong, match=rf"text 1 has \d+ tokens, .* takes {N_POSITIONS - 1}: .*truncation"):
        plain.encode(["good", LONG_TEXT], "plain")


def test_a_text_of_an_operation_is_named_as_its_argument_and_truncation_is_no_remedy(plain: TextModel) -> None:
    """It had the number that it happens to have among all texts, and an option was named that there is not."""
    with pytest.raises(ConfigError, match=r"c\[1\] is ''"):
        plain.analogy("a", "b", ["ok", ""], "plain", SHORT)
    with pytest.raises(SequenceTooLong, match=r"^target has \d+ tokens, .*: shorten it$"):
        plain.interpolate("good", LONG_TEXT, 3, "plain", SHORT)
    with pytest.raises(SequenceTooLong, match=r"^direction.to\[0\] has \d+ tokens, .*: shorten it$"):
        plain.traverse("good", BetweenTexts(("bad",), (LONG_TEXT,)), "plain", SHORT, 3)
    with pytest.raises(SequenceTooLong, match=r"^text 1 has \d+ tokens, .*: shorten it$"):
        plain.variations(["good", LONG_TEXT], "plain", SHORT)


def test_a_row_that_overflows_is_named_by_its_number_among_all(plain: TextModel) -> None:
    """It was that among the rows decoded together."""
    z = torch.zeros(300, 4)
    z[280] = 3e38
    with pytest.raises(LogitsNotFinite, match=r"row 280\b"):
        plain.decode(z, "plain", Decoding(max_tokens=1))


def test_a_truncated_text_is_encoded_by_its_beginning_and_marked(plain: TextModel) -> None:
    encoded = plain.encode(["good", LONG_TEXT], "plain", truncate=True)
    beginning = plain.tokenizer.decode(plain.tokenizer.encode(LONG_TEXT)[: plain.max_text_tokens])
    assert encoded.is_truncated == (False, True)
    assert encoded.num_tokens[1] == plain.max_text_tokens == N_POSITIONS - 1
    torch.testing.assert_close(encoded.mu[1], plain.encode([beginning], "plain").mu[0], atol=1e-5, rtol=1e-5)


def test_a_text_as_long_as_the_context_is_taken_whole(plain: TextModel) -> None:
    ids = plain.tokenizer.encode(LONG_TEXT)[: plain.max_text_tokens]
    text = plain.tokenizer.decode(ids)
    assert plain.tokenizer.encode(text) == ids
    assert plain.encode([text], "plain").is_truncated == (False,)


@pytest.mark.parametrize("shape", [(1, 3), (1, 5), (4,), (1, 1, 4), (0, 5), (2, 0)])
def test_a_latent_of_the_wrong_size_is_refused_with_the_right_one(plain: TextModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(LatentShapeError, match=r"takes \(rows, 4\)"):
        plain.decode(torch.zeros(shape), "plain", SHORT)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_latent_that_is_not_finite_is_refused(plain: TextModel, bad: float) -> None:
    z = torch.zeros(2, 4)
    z[1, 2] = bad
    with pytest.raises(LatentShapeError, match="finite"):
        plain.decode(z, "plain", SHORT)


def test_no_latents_give_no_texts(plain: TextModel) -> None:
    assert plain.decode(torch.zeros(0, 4), "plain", SHORT) == []


def test_more_tokens_than_the_context_holds_are_refused(plain: TextModel) -> None:
    z = torch.zeros(1, 4)
    with pytest.raises(ConfigError, match=rf"max_tokens is {N_POSITIONS}: .* at most {N_POSITIONS - 1}"):
        plain.decode(z, "plain", Decoding(max_tokens=N_POSITIONS))
    assert plain.decode(z, "plain", Decoding(max_tokens=N_POSITIONS - 1))[0].num_tokens <= N_POSITIONS - 1


def test_decoding_is_of_each_row_by_itself_and_gives_z_back(plain: TextModel) -> None:
    z = plain.sample_prior(5, "plain", seed=2)
    each = [Decoding(max_tokens=4 + row, strategy=Strategy.SAMPLE, seed=row) for row in range(5)]
    together = plain.decode(z, "plain", each)
    for row, decoding in enumerate(each):
        alone = plain.decode(z[row : row + 1], "plain", decoding)[0]
        assert (together[row].text, together[row].finish_reason) == (alone.text, alone.finish_reason)
        assert together[row].num_tokens <= decoding.max_tokens
        np.testing.assert_array_equal(together[row].z, z[row].numpy())
    assert len({decoded.text for decoded in together}) > 1


def test_a_decoding_that_ends_by_its_length_says_so(plain: TextModel) -> None:
    decoded = plain.decode(plain.sample_prior(20, "plain", seed=0), "plain", Decoding(max_tokens=1))
    assert {(row.num_tokens, row.finish_reason) for row in decoded} <= {(1, "length"), (0, "stop")}


def test_prior_samples_depend_on_their_seed_alone(mixed: TextModel) -> None:
    assert mixed.sample_prior(3, "prefixed", seed=1).shape == (3, 6)
    assert torch.equal(mixed.sample_prior(3, "prefixed", seed=1), mixed.sample_prior(3, "prefixed", seed=1))
    assert not torch.equal(mixed.sample_prior(3, "prefixed", seed=1), mixed.sample_prior(3, "prefixed", seed=2))


def test_class_probabilities_sum_to_one_and_the_highest_comes_first(mixed: TextModel) -> None:
    for name in ("prefixed", "pooled"):
        labels = NAMED[name].labels
        for verdict in mixed.classify(TEXTS, name):
            probabilities = list(verdict.scores.values())
            assert verdict.scores.keys() == set(labels)
            assert sum(probabilities) == pytest.approx(1.0, abs=1e-6)
            assert probabilities == sorted(probabilities, reverse=True)
            assert verdict.label == next(iter(verdict.scores))


def test_classifying_texts_is_classifying_their_encodings(mixed: TextModel) -> None:
    by_text = mixed.classify(TEXTS, "pooled")
    assert by_text == mixed.classify_latents(mixed.encode(TEXTS, "pooled").mu, "pooled")
    truncated = mixed.classify([LONG_TEXT], "pooled", truncate=True)
    assert truncated[0].label in NAMED["pooled"].labels


def test_no_texts_give_no_verdicts(mixed: TextModel) -> None:
    """An adapter index of no rows has no slot: it was an IndexError."""
    assert mixed.classify([], "pooled") == []


def test_nothing_is_encoded_for_a_head_that_is_not_there(plain: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TextModel, "encode", None)
    with pytest.raises(AdapterSetMismatch, match="has no classification head"):
        plain.classify(TEXTS, "plain")


def test_classifying_without_a_head_is_refused_even_beside_sets_that_have_one(
    mixed: TextModel, plain: TextModel
) -> None:
    for text_model in (mixed, plain):
        with pytest.raises(AdapterSetMismatch, match="no classification head"):
            text_model.classify(TEXTS, "plain")


@pytest.mark.parametrize("method", Interpolation)
def test_an_interpolation_begins_and_ends_with_the_decoded_encodings(plain: TextModel, method: Interpolation) -> None:
    way = plain.interpolate(TEXTS[0], TEXTS[2], 5, "plain", SHORT, method)
    ends = plain.encode([TEXTS[0], TEXTS[2]], "plain").mu
    decoded = plain.decode(ends, "plain", SHORT)
    assert [step.tau for step in way] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [way[0].decoded.text, way[-1].decoded.text] == [row.text for row in decoded]
    np.testing.assert_array_equal(way[0].decoded.z, ends[0].numpy())
    np.testing.assert_array_equal(way[-1].decoded.z, ends[1].numpy())


def test_the_places_of_an_interpolation_are_even_and_exact(plain: TextModel) -> None:
    assert [step.tau for step in plain.interpolate("good", "bad", 11, "plain", SHORT)] == [n / 10 for n in range(11)]


def test_walks_of_many_pairs_are_those_of_each_pair_alone(plain: TextModel) -> None:
    sources, targets = [TEXTS[0], TEXTS[2], TEXTS[0]], [TEXTS[1], TEXTS[0], TEXTS[0]]
    together = plain.interpolate(sources, targets, 4, "plain", SHORT)
    alone = [
        step
        for source, target in zip(sources, targets, strict=True)
        for step in plain.interpolate(source, target, 4, "plain", SHORT)
    ]
    assert [(step.tau, step.decoded.text) for step in together] == [(step.tau, step.decoded.text) for step in alone]
    z, alone_z = (np.stack([step.decoded.z for step in steps]) for steps in (together, alone))
    np.testing.assert_allclose(z, alone_z, atol=1e-5)
    assert len({latent.tobytes() for latent in z}) >= 8


@pytest.mark.parametrize(("source", "target"), [(["a", "b"], ["c"]), ("a", ["c"]), (["a"], "c"), ([], [])])
def test_what_makes_no_pairs_is_refused(plain: TextModel, source: str | list[str], target: str | list[str]) -> None:
    with pytest.raises(ConfigError, match=r"target|source"):
        plain.interpolate(source, target, 4, "plain", SHORT)


def test_an_interpolation_of_one_step_is_refused(plain: TextModel) -> None:
    with pytest.raises(ConfigError, match="steps"):
        plain.interpolate("good", "bad", 1, "plain", SHORT)


def test_an_analogy_that_goes_nowhere_is_the_decoded_encoding_of_c(plain: TextModel) -> None:
    a, b, c = TEXTS[:3]
    decoded = plain.decode(plain.encode([c], "plain").mu, "plain", SHORT)[0].text
    for answers in (plain.analogy(a, b, c, "plain", SHORT, scale=0.0), plain.analogy(a, a, c, "plain", SHORT)):
        assert [answer.text for answer in answers] == [decoded]


def test_an_analogy_moves_c_as_a_becomes_b(plain: TextModel) -> None:
    mu = plain.encode(TEXTS[:3], "plain").mu
    (answer,) = plain.analogy(*TEXTS[:3], name="plain", decoding=SHORT, scale=1.5)
    np.testing.assert_allclose(answer.z, (mu[2] + 1.5 * (mu[1] - mu[0])).numpy(), atol=1e-5)
    b_back = plain.analogy(TEXTS[0], TEXTS[1], TEXTS[0], "plain", SHORT)[0]
    np.testing.assert_allclose(b_back.z, mu[1].numpy(), atol=1e-5)


def test_an_analogy_answers_once_a_decoding_from_one_z(plain: TextModel) -> None:
    each = [Decoding(max_tokens=6, strategy=Strategy.SAMPLE, seed=seed) for seed in range(4)]
    answers = plain.analogy(*TEXTS[:3], name="plain", decoding=each)
    assert len(answers) == 4
    assert len({answer.z.tobytes() for answer in answers}) == 1
    assert len({answer.text for answer in answers}) > 1


@pytest.mark.parametrize("name", NAMED)
def test_a_set_does_the_same_alone_and_beside_sets_of_other_latent_sizes(mixed: TextModel, name: str) -> None:
    alone = tiny_text_model({name: NAMED[name]})
    ours, theirs = mixed.encode(TEXTS, name), alone.encode(TEXTS, name)
    assert ours.mu.shape == (len(TEXTS), NAMED[name].latent_size)
    torch.testing.assert_close(ours.mu, theirs.mu, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.logvar, theirs.logvar, atol=1e-5, rtol=1e-5)
    z = alone.sample_prior(4, name, seed=3)
    assert [row.text for row in mixed.decode(z, name, SHORT)] == [row.text for row in alone.decode(z, name, SHORT)]
    if NAMED[name].labels:
        verdicts = zip(mixed.classify(TEXTS, name), alone.classify(TEXTS, name), strict=True)
        assert all(one.label == other.label for one, other in verdicts)


def test_a_latent_of_a_neighbours_size_is_refused(mixed: TextModel) -> None:
    with pytest.raises(LatentShapeError, match=r"tiny@000000000003 takes \(rows, 3\)"):
        mixed.decode(torch.zeros(1, 6), "pooled", SHORT)


def test_sets_are_loaded_from_a_store_by_name_and_by_version(tmp_path: Path) -> None:
    _published(tmp_path, "one")
    store = AdapterStore(tmp_path)
    reference = store.resolve("one").reference
    text_model = TextModel.load(tiny_pretrained(), store, ["one", reference])
    assert text_model.reference_of("one") == text_model.reference_of(reference) == reference
    assert text_model.config_of("one") == PREFIXED
    mu = text_model.encode(TEXTS, "one").mu
    assert torch.equal(mu, text_model.encode(TEXTS, reference).mu)
    in_memory = TextModel.of_tensors(tiny_pretrained(), "one", PREFIXED, tiny_set(PREFIXED).tensors)
    torch.testing.assert_close(mu, in_memory.encode(TEXTS, "one").mu, atol=2e-2, rtol=0)  # stored in float16


def test_a_set_that_is_not_installed_or_of_another_backbone_is_refused(tmp_path: Path) -> None:
    _published(tmp_path, "one")
    _published(tmp_path, "other", backbone_digest="f" * 64)
    store = AdapterStore(tmp_path)
    with pytest.raises(AdapterSetNotFound, match=r"'onne'.*did you mean 'one'"):
        TextModel.load(tiny_pretrained(), store, ["one", "onne"])
    with pytest.raises(AdapterSetMismatch, match="trained over another backbone"):
        TextModel.load(tiny_pretrained(), store, ["one", "other"])


def test_a_text_cannot_smuggle_in_the_end_of_text(plain: TextModel) -> None:
    (row,), _ = plain.token_ids(["good <|endoftext|> bad"])
    assert plain.tokenizer.eos_token_id not in row
