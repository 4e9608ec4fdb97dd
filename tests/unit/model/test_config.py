"""Configuration: checked when made, the same after a trip through JSON."""

import json

import pytest

from adavae.model.config import AdapterConfig, BackboneConfig
from adavae.model.errors import ConfigError
from adavae.model.training.config import Preset, TrainingConfig, preset_config
from adavae.model.variants import num_backbone_parameters, num_trained_parameters
from tests.tiny import TINY, VARIANTS

SMALL = BackboneConfig(vocab_size=12288, n_positions=256, n_embd=384, n_layer=6, n_head=6, n_inner=1536)


@pytest.mark.parametrize("config", VARIANTS)
def test_adapter_config_survives_json(config: AdapterConfig) -> None:
    assert AdapterConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("preset", list(Preset))
def test_training_config_survives_json(preset: Preset) -> None:
    config = preset_config(preset, SMALL).with_labels(("no", "yes"))
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_backbone_config_survives_hugging_face_layout() -> None:
    assert BackboneConfig.from_hugging_face(TINY.to_hugging_face()).n_inner == TINY.n_inner


@pytest.mark.parametrize(
    ("field", "value"),
    [("latent_size", 0), ("adapter_size", 5000), ("latent_infusion", "magic"), ("labels", ["one"]), ("nope", 1)],
)
def test_a_wrong_adapter_field_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        AdapterConfig.from_dict({field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("learning_rate", 0.0), ("beta", -1.0), ("preset", "poetry"), ("max_steps", 0), ("nope", 1)]
)
def test_a_wrong_training_field_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        TrainingConfig.from_dict({field: value})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model_type": "bert"}, "model_type"),
        ({"n_head": 5}, "n_embd"),
        ({"activation_function": "swish"}, "activation"),
        ({"activation_function": ["relu"]}, "activation"),
        ({"eos_token_id": None}, "eos_token_id"),
        ({"eos_token_id": [0]}, "eos_token_id"),
        ({"layer_norm_epsilon": "x"}, "layer_norm_epsilon"),
        ({"layer_norm_epsilon": 0.0}, "layer_norm_epsilon"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings"),
    ],
)
def test_a_checkpoint_that_is_no_gpt2_is_refused(change: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        BackboneConfig.from_hugging_face({**TINY.to_hugging_face(), **change})


def test_the_language_modelling_preset_stays_under_fifteen_per_cent() -> None:
    config = preset_config(Preset.LANGUAGE_MODELLING, SMALL).adapter
    assert num_trained_parameters(SMALL, config) <= 0.15 * num_backbone_parameters(SMALL)


def test_a_value_that_is_none_of_an_enumeration_is_told_short_with_those_that_are() -> None:
    values = {**AdapterConfig().to_dict(), "latent_infusion": "a" * 10_000}
    with pytest.raises(ConfigError, match=r"must be one of psa, atm, psa\+atm") as refusal:
        AdapterConfig.from_dict(values)
    assert len(str(refusal.value)) < 1000
