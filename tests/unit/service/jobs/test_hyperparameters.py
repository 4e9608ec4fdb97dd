"""Hyperparameters: OpenAI's names and ours, limits, and the run that they make together."""

from typing import Any

import pytest
from pydantic import ValidationError

from adavae.model.training.config import Preset, TrainingConfig, preset_config
from adavae.model.variants import paper_configs
from adavae.service.errors import InvalidRequest
from adavae.service.jobs.hyperparameters import Hyperparameters, effective_hyperparameters
from adavae.service.schemas.training import HyperparametersReply
from tests.tiny import TINY

_AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
_WHOLE = ("steps", "batch_size", "latent_size", "adapter_size", "validations")
_NUMBERS = ("n_epochs", "epochs", "learning_rate_multiplier", "learning_rate", "beta", "word_dropout", "head_weight")
_NUMBERS += ("input_dropout", "form_share", "label_smoothing")


def _config(num_labels: int = 2, **fields: Any) -> TrainingConfig:
    return Hyperparameters.model_validate(fields).training_config(TINY, seed=7, num_labels=num_labels)


def _refused(**fields: Any) -> dict[str, Any]:
    with pytest.raises(ValidationError) as error:
        Hyperparameters.model_validate(fields)
    assert error.value.error_count() == 1
    return dict(error.value.errors()[0])


@pytest.mark.parametrize("fields", [{}, _AUTO, {"beta": None}])
def test_without_a_wish_the_preset_holds(fields: dict[str, Any]) -> None:
    assert _config(**fields).to_dict() == preset_config(Preset.GENERATION, TINY).to_dict() | {"seed": 7}


@pytest.mark.parametrize("preset", list(Preset))
def test_every_preset_can_be_asked_for(preset: Preset) -> None:
    assert _config(preset=str(preset)).preset is preset


def test_every_field_reaches_the_run() -> None:
    sizes = {"latent_size": 16, "adapter_size": 4}
    others = {"batch_size": 8, "learning_rate": 0.001, "free_bits": 0.25, "beta": 0.5, "word_dropout": 0.1}
    others |= {"head_weight": 2, "validations": 3, "input_dropout": 0.4, "form_share": 0.5, "label_smoothing": 0.05}
    config = _config(n_epochs=2.5, steps=40, **sizes, **others).to_dict()
    assert {name: config["adapter"][name] for name in sizes} == sizes
    assert {name: config[name] for name in others} == others
    assert (config["epochs"], config["max_steps"], config["seed"]) == (2.5, 40, 7)


def test_every_variant_of_the_papers_table_can_be_asked_for() -> None:
    """The service took the sizes alone: no other placement, aggregation, infusion or prefix."""
    for config, _ in paper_configs().values():
        fields = {name: value for name, value in config.to_dict().items() if name != "labels"} | {"encoder_layers": 2}
        assert _config(**fields).adapter.to_dict() == config.to_dict() | {"encoder_layers": 2}
    shape = {"beta_schedule": "cyclical", "beta_cycles": 2, "beta_zero_share": 0.5, "beta_rise_share": 0.1}
    shape |= {"free_bits_form": "whole", "stage_one_share": 0.25}
    config = _config(**shape).to_dict()
    assert {name: config[name] for name in shape} == shape


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"encoder_layers": TINY.n_layer + 1}, "encoder_layers"),
        ({"latent_aggregation": "pooled", "latent_heads": 2}, "latent_heads"),
        ({"beta_zero_share": 0.9, "beta_rise_share": 0.2}, "beta_rise_share"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        _config(**fields)
    assert error.value.param == f"hyperparameters.{param}"


def test_what_is_asked_for_is_not_stretched_for_few_texts() -> None:
    assert (_config().min_steps, _config().min_batches) == (150, 8)
    assert (_config(n_epochs=2).min_steps, _config(batch_size=64).min_batches) == (0, 1)


def test_epochs_is_another_name_of_n_epochs() -> None:
    assert _config(epochs=2) == _config(n_epochs=2)
    assert _config(epochs=2) != _config()


def test_steps_alone_are_not_cut_short_by_the_epochs_of_the_preset() -> None:
    config = _config(steps=1_000_000)
    assert (config.max_steps, config.epochs) == (1_000_000, 10_000)


def test_the_multiplier_is_times_the_rate_of_the_preset() -> None:
    assert _config(learning_rate_multiplier=0.5).learning_rate == _config().learning_rate / 2


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"epochs": 1, "n_epochs": 1}, "epochs"),
        ({"learning_rate": 0.1, "learning_rate_multiplier": 2}, "learning_rate"),
    ],
)
def test_two_names_of_one_thing_are_refused(fields: dict[str, Any], field: str) -> None:
    error = _refused(**fields)
    assert (error["loc"], error["type"]) == ((field,), "one_of_both")
    assert all(name in error["msg"] for name in fields)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_epochs", 101),
        ("epochs", 0),
        ("steps", 1_000_001),
        ("steps", 0),
        ("batch_size", 1025),
        ("latent_size", 1025),
        ("adapter_size", 0),
        ("learning_rate", 2),
        ("learning_rate_multiplier", 0),
        ("beta", -0.1),
        ("free_bits", 101),
        ("word_dropout", 0.95),
        ("input_dropout", 0.95),
        ("form_share", 1.1),
        ("label_smoothing", -0.1),
        ("head_weight", 1001),
        ("validations", 101),
        *((name, float("nan")) for name in _NUMBERS),
    ],
)
def test_what_is_out_of_range_is_refused_with_its_limits(field: str, value: float) -> None:
    error = _refused(**{field: value})
    assert error["loc"] == (field,)
    assert "must be a" in error["msg"] and " from " in error["msg"] and " to " in error["msg"]


@pytest.mark.parametrize("field", [*_WHOLE, *_NUMBERS])
@pytest.mark.parametrize("value", ["3", True, [3], {}])
def test_only_numbers_are_numbers(field: str, value: object) -> None:
    assert _refused(**{field: value})["loc"] == (field,)


@pytest.mark.parametrize("field", _WHOLE)
def test_whole_numbers_have_no_fraction(field: str) -> None:
    assert "whole number" in _refused(**{field: 2.5})["msg"]


@pytest.mark.parametrize("field", ["steps", "learning_rate", "epochs", "beta"])
def test_auto_is_for_the_names_of_openai(field: str) -> None:
    assert _refused(**{field: "auto"})["loc"] == (field,)


@pytest.mark.parametrize(("name", "remedy"), [("epoch", "did you mean epochs?"), ("warp", "the fields are preset,")])
def test_an_unknown_field_is_refused_once_with_what_is_there(name: str, remedy: str) -> None:
    error = _refused(**{name: 1, "zzz": 2})
    assert error["loc"] == (name,)
    assert remedy in error["msg"]


def test_a_rate_that_the_multiplier_makes_too_large_names_its_field() -> None:
    """Limits of the run itself hold too, whatever the limits of the wire are."""
    wanted = Hyperparameters.model_construct(learning_rate_multiplier=1e6)
    with pytest.raises(InvalidRequest) as error:
        wanted.training_config(TINY, seed=0, num_labels=2)
    assert error.value.param == "hyperparameters.learning_rate"
    assert "must be in [1e-07, 1]" in error.value.message


@pytest.mark.parametrize(
    ("num_labels", "fields", "param"),
    [
        (0, {"preset": "classification"}, "hyperparameters.preset"),
        (1, {"preset": "classification"}, "hyperparameters.preset"),
        (0, {"head_weight": 2}, "hyperparameters.head_weight"),
        (1, {"head_weight": 2}, "hyperparameters.head_weight"),
        (2, {"preset": "language-modelling", "head_weight": 2}, "hyperparameters.head_weight"),
        (0, {"label_smoothing": 0.2}, "hyperparameters.label_smoothing"),
    ],
)
def test_a_head_needs_labels(num_labels: int, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        _config(num_labels, **fields)
    assert error.value.param == param


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, {"n_epochs": 3, "steps": None, "learning_rate_multiplier": "auto", "batch_size": 128}),
        ({"epochs": 1.5, "learning_rate_multiplier": 2}, {"n_epochs": 1.5, "learning_rate_multiplier": 2}),
        ({"steps": 9, "latent_size": 5}, {"n_epochs": "auto", "steps": 9, "latent_size": 5}),
    ],
)
def test_what_a_job_trains_with_is_shown(asked: dict[str, Any], told: dict[str, Any]) -> None:
    effective = effective_hyperparameters(asked, _config(**asked).to_dict())
    assert {name: effective[name] for name in told} == told
    assert set(effective) == set(Hyperparameters.model_fields) - {"epochs"}


@pytest.mark.parametrize("preset", list(Preset))
def test_a_job_tells_all_that_the_document_says_it_tells(preset: Preset) -> None:
    """The reply once had fifteen fields that the OpenAPI document refused."""
    told = effective_hyperparameters({}, _config(preset=str(preset)).to_dict())
    assert set(told) == set(HyperparametersReply.model_fields)
    HyperparametersReply.model_validate(told)
