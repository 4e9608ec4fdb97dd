"""What cached encodings belong to."""

import pytest
import torch

from adavae.model.config import WeightFormat
from adavae.service.encodings.text_encoder import computed_by
from tests.parity.compiled import best_compiled
from tests.tiny_text import tiny_pretrained


def test_encodings_by_int8_weights_are_not_taken_for_others() -> None:
    if best_compiled().int8_way == 0:
        pytest.skip("this processor does not multiply bytes")
    pretrained, names = tiny_pretrained(), list[str]()
    with torch.no_grad():
        for weight_format in (WeightFormat.FLOAT16, WeightFormat.INT8):
            pretrained.backbone.pack(weight_format)
            names.append(computed_by(pretrained))
    assert names == [f"{pretrained.digest}/torch.float32", f"{pretrained.digest}/torch.float32/int8"]
