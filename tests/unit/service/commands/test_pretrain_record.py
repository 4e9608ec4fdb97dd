"""What the command says of a finished backbone."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adavae.model.training import language_model
from adavae.model.training.language_model import Perplexity
from adavae.service.commands.pretrain import _record


def test_an_infinite_perplexity_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "held_out_perplexity", lambda *_: Perplexity(9.0, math.inf, 1))
    backbone: Any = SimpleNamespace(digest="d", backbone=SimpleNamespace(num_parameters=5))
    record = _record(backbone, Path("out"), ("thecatseesacar",))
    assert "perplexity_per_word" not in record and record["perplexity_per_token"] == 9.0
    json.dumps(record, allow_nan=False)
