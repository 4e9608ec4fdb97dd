"""What z holds, in closed form: units, a line between labels, copies that lie near or far."""

import math

import pytest
import torch

from adavae.model.parts.posterior import Posterior
from adavae.model.training.latent_figures import (
    FORMS,
    capitalised,
    halved,
    measure_probe,
    measure_retrieval,
    measure_units,
    spaced,
    thinned,
)
from adavae.model.training.ngram_model import words_of
from tests.scripted_operations import ScriptedOperations


def test_units_are_counted_by_what_they_say() -> None:
    mu = torch.zeros(1000, 4)
    mu[:, 0] = torch.linspace(-3, 3, 1000)
    mu[::2, 1], mu[1::2, 1] = 1.0, -1.0
    posterior = Posterior(mu, torch.zeros(1000, 4))  # KL of a unit: mu^2 / 2
    units = measure_units(posterior)
    assert (units.latent_size, units.active, units.kl_silent, units.kl_half) == (4, 2, 2, 1)
    assert units.kl_max == pytest.approx(1.5, rel=0.01)
    assert units.kl_mean == pytest.approx((1.5 + 0.5) / 4, rel=0.01)
    assert units.mu_std == pytest.approx(math.sqrt((3.0 + 1.0) / 4), rel=0.01)
    assert units.posterior_std == pytest.approx(1.0)


def test_units_that_share_the_work_hold_half_of_it_by_half_of_them() -> None:
    units = measure_units(Posterior(torch.ones(10, 8), torch.zeros(10, 8)))
    assert units.kl_half == 4
    assert units.active == 0


def test_a_line_finds_labels_that_lie_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    mu = torch.randn(400, 3, generator=generator)
    labels = ["yes" if float(row[1]) > 0 else "no" for row in mu]
    probe = measure_probe(mu, labels)
    assert probe is not None
    assert probe.accuracy > 0.9
    assert probe.recall.keys() == {"no", "yes"}
    unrelated = measure_probe(torch.randn(400, 3, generator=generator), labels)
    assert unrelated is not None
    assert abs(unrelated.accuracy - unrelated.majority) < 0.15


@pytest.mark.parametrize("labels", [["a"], ["a"] * 10, []])
def test_without_two_labels_there_is_no_probe(labels: list[str]) -> None:
    assert measure_probe(torch.zeros(len(labels), 2), labels) is None


TEXTS = ["one a b c d e", "two a b c d e f g", "three a b"]
PLACES = {"one": 0.0, "two": 10.0, "three": 40.0}


def near(text: str) -> list[float]:
    """A text lies where its first word says, its copy a bit beside it."""
    return [PLACES[text.split()[0]] + (1.0 if text not in TEXTS else 0.0), 0.0]


def test_copies_that_lie_beside_their_text_find_it() -> None:
    operations = ScriptedOperations(place=near)
    found = measure_retrieval(operations, TEXTS, operations.encode(TEXTS).mu, halved)
    assert found is not None
    assert (found.num_texts, found.nearest, found.reciprocal_rank) == (3, 1.0, 1.0)
    typical = (10 + 40 + 30) / 3
    assert found.distance == found.distance_worst == pytest.approx(1 / typical)


def test_copies_that_lie_elsewhere_do_not() -> None:
    """Each copy lies at 39: nearest is the third text, then the second, then the first; two texts are long enough."""
    operations = ScriptedOperations(place=lambda text: [near(text)[0] if text in TEXTS else 39.0, 0.0])
    found = measure_retrieval(operations, TEXTS, operations.encode(TEXTS).mu, halved)
    assert found is not None
    assert found.nearest == 0.0
    assert found.reciprocal_rank == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found.distance_worst == pytest.approx(39 / ((10 + 40 + 30) / 3))
    assert found.cosine_worst == pytest.approx(-1.0)


def test_a_change_that_changes_nothing_is_not_measured() -> None:
    operations = ScriptedOperations(place=near)
    mu = operations.encode(TEXTS).mu
    assert measure_retrieval(operations, TEXTS, mu, str.strip) is None
    assert measure_retrieval(operations, TEXTS[:1], mu[:1], halved) is None


@pytest.mark.parametrize(
    ("plain", "printed"),
    [
        ("it's nice, i don't mind.", "it 's nice , i do n't mind ."),
        ("(good) food!", "( good ) food !"),
        ("wait...", "wait . . ."),
        ("already , spaced .", "already , spaced ."),
        ("no marks", "no marks"),
    ],
)
def test_spaced_is_as_treebanks_print_it(plain: str, printed: str) -> None:
    assert spaced(plain) == printed
    assert words_of(spaced(plain)) == words_of(plain)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_changes_no_word(form) -> None:  # type: ignore[no-untyped-def]
    for text in ("it's nice, i don't mind.", "i can't (ever) say 'no'!", "a", ""):
        assert words_of(form(text)) == words_of(text)


def test_capitals_stand_where_one_writes_them() -> None:
    assert capitalised("the food i had. it's fine, i'm in.") == "The food I had. it's fine, I'm in."


def test_copies_lack_what_they_say() -> None:
    assert halved("a b c d e f g") == "a b c"
    assert halved("a b c d e") == "a b c d e"
    words = [f"w{number}" for number in range(1000)]
    left = thinned(" ".join(words)).split()
    assert 750 < len(left) < 850
    assert [word for word in words if word in set(left)] == left
    assert thinned(" ".join(words)).split() == left
