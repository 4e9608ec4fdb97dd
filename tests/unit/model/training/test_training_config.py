"""A run's settings: numbers of whatever kind, as Python's own."""

import json

import numpy as np

from adavae.model.training.config import TrainingConfig


def test_numbers_of_numpy_are_settings_that_a_manifest_can_hold() -> None:
    """They went into the run, and no JSON could be made of them at its end."""
    plain = TrainingConfig().with_options(
        {"batch_size": 16, "max_steps": 3, "beta": 0.5, "latent_size": 8, "epochs": 2}
    )
    given = {
        "batch_size": np.int64(16),
        "max_steps": np.int32(3),
        "beta": np.float32(0.5),
        "latent_size": np.int64(8),
        "epochs": np.int64(2),
    }
    config = TrainingConfig().with_options(given)
    assert config == plain
    assert json.dumps(config.to_dict()) == json.dumps(plain.to_dict())
