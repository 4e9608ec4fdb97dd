"""Which trained sets are worse than doing nothing."""

from typing import Any

import pytest

from adavae.service.jobs.worker.verdict import NotWorthPublishing, judge

HEALTHY = {
    "rows": 200,
    "neg_elbo": 60.0,
    "reconstruction_nats": 50.0,
    "kl": 10.0,
    "mi": 4.0,
    "ppl_word_iw100": 80.0,
    "au": 12,
    "latent_size": 32,
    "decoded_rows": 200,
    "distinct_outputs": 180,
    "recognised": 0.95,
}
HEAD = {"accuracy": 0.8, "macro_f1": 0.79, "majority_share": 0.5}
LABELS = ("no", "yes")


def refused(labels: tuple[str, ...] = (), preset: str = "generation", **figures: Any) -> str | None:
    """The code of the reason, or None."""
    try:
        judge({**HEALTHY, **figures}, labels, preset)
    except NotWorthPublishing as exc:
        assert str(exc) == exc.error.message
        return exc.error.code
    return None


def test_a_healthy_set_passes_with_and_without_a_head() -> None:
    assert refused() is None
    assert refused(LABELS, **HEAD) is None


@pytest.mark.parametrize(("kl", "code"), [(0.0, "latent_collapsed"), (0.09, "latent_collapsed"), (0.11, None)])
def test_a_latent_without_kl_has_collapsed(kl: float, code: str | None) -> None:
    assert refused(kl=kl) == code


@pytest.mark.parametrize(("rows", "code"), [(7, None), (8, "latent_collapsed"), (2000, "latent_collapsed")])
def test_a_latent_without_active_units_has_collapsed_unless_there_are_too_few_texts_to_tell(
    rows: int, code: str | None
) -> None:
    assert refused(au=0, rows=rows) == code


@pytest.mark.parametrize(
    ("figures", "code"),
    [
        ({"accuracy": 0.5, "macro_f1": 1 / 3}, "head_at_chance"),
        ({"accuracy": 0.45, "macro_f1": 0.2}, "head_at_chance"),
        ({"accuracy": 0.52, "macro_f1": 1 / 3}, None),
        ({"accuracy": 0.5, "macro_f1": 0.5}, "head_at_chance"),
        ({"accuracy": 0.99, "macro_f1": 0.4975, "majority_share": 0.99}, "head_at_chance"),
        ({"accuracy": 0.99, "macro_f1": 0.7, "majority_share": 0.99}, None),
        ({"accuracy": 0.0, "macro_f1": 0.0, "rows": 19}, "head_at_chance"),
        ({"accuracy": 9 / 19, "macro_f1": 0.4, "rows": 19}, None),  # as low by chance in 50 runs of 100
        ({"accuracy": 1 / 3, "macro_f1": 0.25, "rows": 6, "majority_share": 2 / 3}, None),  # in 10 of 100
        ({"accuracy": 1 / 6, "macro_f1": 0.25, "rows": 6, "majority_share": 2 / 3}, "head_at_chance"),  # in 2 of 100
        ({"accuracy": 0.9, "macro_f1": 0.47, "majority_share": 1.0}, None),  # one label is validated on
        ({"accuracy": 0.5, "macro_f1": 1 / 3, "majority_share": 1.0}, "head_at_chance"),
        ({"accuracy": 0.0, "macro_f1": 0.0, "rows": 1, "majority_share": 1.0}, None),  # one text says nothing
        ({"accuracy": 0.25, "macro_f1": 0.2, "rows": 4, "majority_share": 1.0}, None),  # in 31 of 100
        ({"accuracy": 0.0, "macro_f1": 0.0, "rows": 8, "majority_share": 1.0}, "head_at_chance"),  # in 4 of 1000
    ],
)
def test_a_head_has_to_beat_the_commonest_label(figures: dict[str, float], code: str | None) -> None:
    assert refused(LABELS, **(HEAD | figures)) == code


def test_the_reason_names_value_limit_and_remedy() -> None:
    with pytest.raises(NotWorthPublishing) as exc:
        judge({**HEALTHY, "kl": 0.02, "au": 0}, (), "generation")
    assert exc.value.error.message == (
        "the latent has collapsed, z says nothing about the text: its KL on the validation texts is 0.02 nats "
        "(at least 0.1 are needed), 0 of 32 units are active. Lower beta, raise free_bits, or train for longer"
    )
    assert exc.value.error.param == "hyperparameters.beta"


@pytest.mark.parametrize(
    ("rows", "distinct", "recognised", "code"),
    [
        (200, 1, 0.5, "writes_the_same"),
        (200, 150, 0.53, "writes_the_same"),  # all about nothing: with 200 texts 0.53 is chance
        (200, 3, 0.54, None),
        (20, 15, 0.6, "writes_the_same"),
        (20, 15, 0.61, None),
        (19, 2, 0.4, None),  # too few texts to tell
        (10, 1, 0.5, "writes_the_same"),
        (9, 1, 0.5, None),
    ],
)
def test_a_set_that_writes_has_to_write_of_its_texts(rows: int, distinct: int, recognised: float, code: str) -> None:
    """A run of 600 texts wrote "the food is a great." for every text, and its job had succeeded."""
    figures = {"decoded_rows": rows, "distinct_outputs": distinct, "recognised": recognised}
    assert refused(**figures) == code
    assert refused(preset="language-modelling", **figures) is None


def test_sets_whose_reconstructions_were_not_measured_have_the_benefit_of_the_doubt() -> None:
    figures = {name: value for name, value in HEALTHY.items() if name != "recognised"}
    judge(figures, (), "generation")
