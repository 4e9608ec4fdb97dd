"""One adapter set as a Python program uses it: the results of the text model, and options checked where given."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from adavae.model.config import Interpolation
from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.errors import AdapterSetMismatch, ConfigError, LatentShapeError, SequenceTooLong
from adavae.model.latent.direction import BetweenTexts, Dimension
from adavae.model.latent.steering import Draw, Steering
from adavae.model.loaded_set import LoadedSet
from adavae.model.text_model import TextModel
from tests.tiny_prior import tiny_text_model_with_priors
from tests.tiny_text import NAMED

A, B, C = "the food was bad .", "the food was good .", "my room was bad ."
SAMPLING: dict[str, Any] = {"strategy": "sample", "temperature": 1.3, "seed": 7, "max_tokens": 6}
AS_SAMPLING = Decoding(strategy=Strategy.SAMPLE, temperature=1.3, seed=7, max_tokens=6)


@pytest.fixture(scope="module")
def text_model() -> TextModel:
    return tiny_text_model_with_priors()


@pytest.fixture(scope="module")
def labelled(text_model: TextModel) -> LoadedSet:
    return LoadedSet(text_model, next(name for name in NAMED if text_model.config_of(name).labels))


def texts_of(rows: Any) -> list[str]:
    return [getattr(row, "decoded", row).text for row in rows]


def test_a_set_says_what_it_is(labelled: LoadedSet) -> None:
    assert labelled.reference == labelled.text_model.reference_of(labelled.name)
    assert labelled.labels == labelled.text_model.config_of(labelled.name).labels
    assert labelled.reference in repr(labelled) and labelled.labels[0] in repr(labelled)


def test_one_text_and_several_are_encoded_alike(labelled: LoadedSet) -> None:
    several = labelled.encode([A, B])
    assert several.mu.shape == (2, labelled.latent_size)
    torch.testing.assert_close(labelled.encode(A).mu, several.mu[:1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(several.mu[0], several.mu[1], atol=1e-3)


def test_encodings_are_scaled_to_length_1_where_asked_for(labelled: LoadedSet) -> None:
    plain, scaled = labelled.encode([A, B]), labelled.encode([A, B], normalize=True)
    torch.testing.assert_close(scaled.mu.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(scaled.mu * plain.mu.norm(dim=1, keepdim=True), plain.mu)
    assert torch.equal(scaled.logvar, plain.logvar)


def test_a_long_text_is_refused_or_cut(labelled: LoadedSet) -> None:
    long = A * 30
    with pytest.raises(SequenceTooLong):
        labelled.encode(long)
    assert labelled.encode(long, truncate=True).is_truncated == (True,)
    assert len(labelled.classify(long, truncate=True)) == 1


@pytest.mark.parametrize("given", [torch.Tensor, np.asarray, list])
def test_z_may_be_a_tensor_an_array_or_a_list(labelled: LoadedSet, given: Any) -> None:
    mu = labelled.encode([A, B]).mu
    expected = labelled.text_model.decode(mu, labelled.name, AS_SAMPLING.for_rows(2))
    assert texts_of(labelled.decode(given(mu.tolist()), **SAMPLING)) == texts_of(expected)
    assert texts_of(labelled.decode(given(mu[0].tolist()), **SAMPLING)) == texts_of(expected[:1])


@pytest.mark.parametrize("empty", ["a", "b", "c"])
def test_an_analogy_of_no_texts_is_refused_by_its_name(labelled: LoadedSet, empty: str) -> None:
    """The mean of none was NaN, and the error about z far from the prior."""
    texts: dict[str, Any] = {"a": A, "b": B, "c": C, empty: []}
    with pytest.raises(ConfigError, match=rf"{empty} is \[\]: must have at least 1 text"):
        labelled.analogy(**texts)


def test_a_traversal_between_no_texts_is_refused_by_its_name(labelled: LoadedSet) -> None:
    with pytest.raises(ConfigError, match=r"direction.from is \[\]"):
        labelled.traverse(C, {"from": [], "to": [B]})


NO_TEXTS: list[tuple[Any, str]] = [
    (None, "is None: must be a string: leave it out, as dropna"),
    (float("nan"), "is nan: must be a string: leave it out"),
    (b"bytes", r"is b'bytes': must be a string: decode it first: value\.decode"),
    (7, "is 7: must be a string: convert it with str"),
    ("half \ud83d", "is .*: has half of a surrogate pair at character 5: read the text as UTF-8"),
]


@pytest.mark.parametrize(("bad", "told"), NO_TEXTS, ids=repr)
def test_what_is_no_text_is_named_by_its_place(labelled: LoadedSet, bad: Any, told: str) -> None:
    """They were AttributeErrors, and TypeErrors of the tokenizer."""
    for method in (labelled.encode, labelled.classify, labelled.variations, labelled.score):
        with pytest.raises(ConfigError, match=rf"^texts\[1\] {told}"):
            method([A, bad])
    with pytest.raises(ConfigError, match=rf"^target\[0\] {told}"):
        labelled.interpolate([A], [bad])
    with pytest.raises(ConfigError, match=rf"^c\[1\] {told}"):
        labelled.analogy(A, B, [C, bad])
    with pytest.raises(ConfigError, match=rf"^text {told}"):
        labelled.traverse(bad, {"dimension": 0})
    with pytest.raises(ConfigError, match=r"^direction"):
        labelled.traverse(A, {"from": [A, bad], "to": [B]})


class Table:
    """As pandas has it: to iterate gives the names of the columns."""

    columns = np.array(["text", "label"], dtype=object)  # which is neither true nor false

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


class Batch:
    """As pyarrow has it, which is not to be iterated over."""

    columns = np.array([A, B], dtype=object)
    column_names = ("label", "text")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Table(), r"is 'Table': a table with the columns 'text', 'label': give one column, as table\['text'\]"),
        (Batch(), r"is 'Batch': a table with the columns 'label', 'text': give one column, as table\['text'\]"),
        ({"review": [A]}, r"is 'dict': a mapping with the keys 'review': give one column, as mapping\['review'\]"),
        ({}, "is 'dict': a mapping without keys: give a list of texts"),
        ({A, B}, "is 'set': a set, which has no order: give a list"),
        (A.encode(), "is 'bytes': must be a string or strings: decode it first"),
        (7, "is 'int': must be a string or strings"),
    ],
)
def test_names_of_columns_are_not_taken_for_texts(labelled: LoadedSet, given: Any, told: str) -> None:
    """A table's or a dictionary's names were encoded in place of the texts in it."""
    for method in (labelled.encode, labelled.classify, labelled.variations, labelled.score):
        with pytest.raises(ConfigError, match=f"^texts {told}"):
            method(given)
    with pytest.raises(ConfigError, match=f"^b {told}"):
        labelled.analogy(A, given, C)


def test_iterators_are_texts_as_lists_are(labelled: LoadedSet) -> None:
    """They had no length."""
    listed = labelled.interpolate([A, B], [B, C], steps=2, **SAMPLING)
    assert texts_of(labelled.interpolate(iter([A, B]), iter([B, C]), steps=2, **SAMPLING)) == texts_of(listed)
    changed = labelled.analogy([A], [B], [C, A], **SAMPLING)
    assert texts_of(labelled.analogy(iter([A]), iter([B]), iter([C, A]), **SAMPLING)) == texts_of(changed)
    assert torch.equal(labelled.encode(np.array([A, B])).mu, labelled.encode([A, B]).mu)


def test_what_is_no_latent_is_refused(labelled: LoadedSet) -> None:
    with pytest.raises(LatentShapeError, match="no array of numbers"):
        labelled.decode("z")  # type: ignore[arg-type]
    with pytest.raises(LatentShapeError, match="takes"):
        labelled.decode([[0.0] * (labelled.latent_size + 1)])


@pytest.mark.parametrize("given", [3.0, np.float32(1.5), torch.tensor(1.0), [1j, 2.0]], ids=repr)
def test_one_number_and_complex_ones_are_no_latent(labelled: LoadedSet, given: Any) -> None:
    """One was a TypeError, and of complex numbers the imaginary parts were left out."""
    with pytest.raises(LatentShapeError, match="must be an array of real ones"):
        labelled.decode(given)


@pytest.mark.parametrize("between", [(1,), (1, 2, 3), 5, ("a", "b"), (None, 1)], ids=repr)
def test_a_range_that_is_not_two_numbers_is_refused_by_its_name(labelled: LoadedSet, between: Any) -> None:
    with pytest.raises(ConfigError, match=r"^between"):
        labelled.traverse(C, {"dimension": 0}, between=between)


@pytest.mark.parametrize("direction", [None, 3, "food", [("dimension", 0)], {"dimension": "0"}, {}], ids=repr)
def test_a_direction_that_is_none_is_refused_by_its_name(labelled: LoadedSet, direction: Any) -> None:
    with pytest.raises(ConfigError, match=r"^direction is"):
        labelled.traverse(C, direction)


def test_a_text_and_a_list_are_no_ends_of_a_walk(labelled: LoadedSet) -> None:
    """It said that the target was one text, and had to be one text."""
    with pytest.raises(ConfigError, match="source is one text, target a list"):
        labelled.interpolate(A, [B], steps=3)
    with pytest.raises(ConfigError, match="target is one text, source a list"):
        labelled.interpolate([A], B, steps=3)
    with pytest.raises(ConfigError, match="for each source, which are 2"):
        labelled.interpolate([A, C], [B], steps=3)


def test_every_operation_is_that_of_the_text_model(labelled: LoadedSet) -> None:
    text_model, name = labelled.text_model, labelled.name
    steering = Steering(truncation=0.5, candidates=2)
    options: dict[str, Any] = {"truncation": 0.5, "candidates": 2, **SAMPLING}
    label = labelled.labels[1]
    pairs = [
        (
            labelled.sample(3, label=label, guidance=1.5, **options),
            text_model.sample(3, name, AS_SAMPLING, Draw(label=label, guidance=1.5), steering),
        ),
        (
            labelled.interpolate(A, B, 4, "spherical", **options),
            text_model.interpolate(A, B, 4, name, AS_SAMPLING, Interpolation.SPHERICAL, steering),
        ),
        (
            labelled.analogy([A], [B], C, 1.5, 2, focus=0.25, **options),
            text_model.analogy(
                [A], [B], C, name, AS_SAMPLING.for_rows(2), 1.5, Steering(truncation=0.5, candidates=2, focus=0.25)
            ),
        ),
        (
            labelled.traverse(C, {"dimension": 1}, 3, (-1.0, 2.0), **options),
            text_model.traverse(C, Dimension(1), name, AS_SAMPLING, 3, (-1.0, 2.0), steering),
        ),
        (
            labelled.traverse(C, {"from": [A], "to": [B]}, **options),
            text_model.traverse(C, BetweenTexts((A,), (B,)), name, AS_SAMPLING, steering=steering),
        ),
    ]
    for given, expected in pairs:
        assert given and texts_of(given) == texts_of(expected)
    (near,) = labelled.variations(C, 2, 1.5, truncation=0.5, **SAMPLING)
    (expected_near,) = text_model.variations([C], name, AS_SAMPLING, 2, 1.5, Steering(truncation=0.5))
    assert near and texts_of(near) == texts_of(expected_near)
    torch.testing.assert_close(labelled.score([A, C]), text_model.score([A, C]))


def test_a_scored_text_is_cleaned_as_an_encoded_one_is(labelled: LoadedSet) -> None:
    """Blanks at its ends counted, and a text of blanks alone had a score."""
    assert torch.equal(labelled.score(f"  {A}\u00a0"), labelled.score(A))
    with pytest.raises(ConfigError, match="text 1 is ''"):
        labelled.score([A, "   "])


def test_only_the_likeliest_labels_are_kept(labelled: LoadedSet) -> None:
    every, first = labelled.classify([A, B]), labelled.classify([A, B], top_k=1)
    assert every == labelled.text_model.classify([A, B], labelled.name)
    assert [row.scores for row in first] == [{row.label: row.scores[row.label]} for row in every]


def test_a_set_without_a_head_does_not_classify(text_model: TextModel) -> None:
    name = next(name for name in NAMED if not text_model.config_of(name).labels)
    with pytest.raises(AdapterSetMismatch):
        LoadedSet(text_model, name).classify(A)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "wild"}, "strategy is 'wild': must be one of"),
        ({"temperature": 0.5}, "temperature is 0.5: has no effect with strategy greedy: set strategy to sample"),
        ({"strategy": "sample", "num_beams": 2}, "num_beams is 2: has no effect with strategy sample"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"refine": 2.0}, "refine is 2.0"),
        ({"method": "zigzag"}, "method is 'zigzag': must be one of"),
        ({"steps": 1}, "steps is 1"),
    ],
)
def test_an_option_that_is_out_of_range_or_without_effect_is_refused(
    labelled: LoadedSet, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        labelled.interpolate(A, B, **options)


def test_an_option_that_does_not_exist_is_refused(labelled: LoadedSet) -> None:
    with pytest.raises(TypeError, match="temprature"):
        labelled.interpolate(A, B, temprature=0.5)  # type: ignore[call-arg]


def test_numbers_of_numpy_are_numbers(labelled: LoadedSet) -> None:
    """A seed was "must be a whole number", a dimension no direction."""
    sampling = SAMPLING | {"seed": np.int64(7), "max_tokens": np.int32(6), "temperature": np.float32(1.5)}
    as_plain = SAMPLING | {"temperature": 1.5}
    drawn = labelled.sample(np.int64(2), candidates=np.int64(2), **sampling)  # type: ignore[arg-type]
    assert texts_of(drawn) == texts_of(labelled.sample(2, candidates=2, **as_plain))
    walked = labelled.traverse(A, {"dimension": np.int64(1)}, np.int64(3), **sampling)  # type: ignore[dict-item, arg-type]
    assert texts_of(walked) == texts_of(labelled.traverse(A, {"dimension": 1}, 3, **as_plain))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"seed": 1.5}, "seed is 1.5: must be a whole number"),
        ({"max_tokens": "6"}, "max_tokens is '6': must be a whole number"),
        ({"repetition_penalty": "1"}, "repetition_penalty is '1': must be a number"),
        ({"refine": "0.5"}, "refine is '0.5': must be a number"),
        ({"candidates": 2.0}, "candidates is 2.0: must be a whole number"),
        ({"scale": "1"}, "scale is '1': must be a number"),
        ({"samples": 1.5}, "samples is 1.5: must be a whole number"),
    ],
)
def test_what_is_no_number_is_refused_in_words(labelled: LoadedSet, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"^{told}"):
        labelled.analogy(A, B, C, **options)


def test_a_z_that_is_being_optimised_is_decoded(labelled: LoadedSet) -> None:
    z = labelled.encode([A]).mu.clone().requires_grad_()
    assert texts_of(labelled.decode(z, refine=0.0, **SAMPLING)) == texts_of(
        labelled.decode(z.detach(), refine=0.0, **SAMPLING)
    )


def test_decoded_texts_are_compared_as_what_they_are(labelled: LoadedSet) -> None:
    """Equality and hash asked their arrays, which have neither."""
    first, second = labelled.decode(labelled.encode([A, A]).mu, **SAMPLING)
    assert first == first and first != second and len({first, second}) == 2


@pytest.mark.parametrize("top_k", [0, -1])
def test_at_least_one_label_is_asked_for(labelled: LoadedSet, top_k: int) -> None:
    """0 gave none, and -1 an error of itertools'."""
    with pytest.raises(ConfigError, match=f"top_k is {top_k}: must be at least 1"):
        labelled.classify(A, top_k=top_k)


@pytest.mark.parametrize("samples", [0, 2])
def test_greedy_decoding_has_one_answer(labelled: LoadedSet, samples: int) -> None:
    with pytest.raises(ConfigError, match=f"samples is {samples}: must be 1, or more with strategy"):
        labelled.analogy(A, B, C, samples=samples)
