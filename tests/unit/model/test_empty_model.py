"""Modules without memory for their weights: every shape is there, and nothing was imported to fill them."""

import subprocess
import sys

import torch
from torch import nn

from adavae.model.backbone import Backbone
from adavae.model.empty_model import without_memory
from tests.tiny import TINY


def test_every_tensor_has_its_shape_and_no_memory() -> None:
    with without_memory():
        empty = Backbone(TINY)
    whole = Backbone(TINY)
    assert {tensor.device.type for tensor in empty.state_dict().values()} == {"meta"}
    shapes = [{name: tensor.shape for name, tensor in one.state_dict().items()} for one in (empty, whole)]
    assert shapes[0] == shapes[1]


def test_afterwards_modules_are_initialised_as_ever() -> None:
    torch.manual_seed(0)
    expected = nn.Embedding(5, 3).weight
    with without_memory():
        nn.Embedding(5, 3)
    torch.manual_seed(0)
    assert torch.equal(nn.Embedding(5, 3).weight, expected)


def test_initialisation_by_keyword_returns_its_tensor() -> None:
    with without_memory():
        tensor = torch.empty(2, 3)
        assert nn.init.normal_(tensor=tensor, std=0.1) is tensor


def test_torchs_compiler_is_not_imported() -> None:
    """A second of every start, for a normal distribution on the meta device."""
    program = (
        "import sys; from adavae.model.backbone import Backbone; from adavae.model.empty_model import without_memory;"
        "from tests.tiny import TINY\n"
        "with without_memory(): Backbone(TINY)\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
