"""Settings of pretraining outside their rules."""

from dataclasses import replace
from typing import Any

import pytest

from adavae.model.errors import (
    ConfigError,
)
from tests.unit.model.training.tiny_pretraining import CONFIG, SHAPE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0.0),
        ("max_steps", 0),
        ("batch_size", 0),
        ("window", 33),
        ("long_window", 64),
        ("long_share", 1.1),
        ("learning_rate", float("nan")),
        ("weight_decay", -0.1),
        ("dropout", 1.0),
        ("masked_share", 1.0),
        ("mask_rate", 0.0),
        ("warmup_steps", -1),
        ("max_gradient_norm", 0.0),
        ("checkpoint_every", 0),
        ("seed", -1),
        ("backbone", replace(SHAPE, vocab_size=256)),
        ("backbone", replace(SHAPE, eos_token_id=1)),
    ],
)
def test_a_setting_outside_its_rule_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError):
        replace(CONFIG, **{field: value})
