"""An adapter set is used once before it may serve: finite numbers may be so large that nothing made of them is."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adavae.model.config import AdapterConfig
from adavae.model.errors import AdapterSetMismatch, WeightsCorrupted
from adavae.model.storage.adapter_set import AdapterSet, read_adapter_set
from adavae.model.storage.manifest import TENSORS, read_manifest
from adavae.model.trial import SetTrial, try_out
from tests.tiny import PLAIN, PREFIXED, VARIANTS
from tests.tiny_home import publish_tiny, tiny_settings
from tests.tiny_prior import tiny_prior
from tests.tiny_sets import forge_manifest, publish
from tests.tiny_text import tiny_pretrained, tiny_set

BOUND = 2**30
Spoil = Callable[[str, Tensor], Tensor]


def spoilt(adapter_set: AdapterSet, spoil: Spoil) -> AdapterSet:
    return replace(adapter_set, tensors={name: spoil(name, tensor) for name, tensor in adapter_set.tensors.items()})


@pytest.mark.parametrize("config", VARIANTS)
def test_what_was_trained_passes(config: AdapterConfig) -> None:
    try_out(tiny_set(config), tiny_pretrained())


def test_a_set_with_a_prior_of_its_own_passes() -> None:
    try_out(replace(tiny_set(PREFIXED), prior_tensors=tiny_prior(PREFIXED).to_tensors()), tiny_pretrained())


SPOILS: dict[str, Spoil] = {
    "the largest numbers everywhere": lambda _, tensor: torch.full_like(tensor, 65504.0),
    "numbers that overflow in the encoder": lambda name, tensor: tensor * 1e30 if "encoder" in name else tensor,
    "numbers that overflow in the decoder": lambda name, tensor: tensor * 1e30 if "decoder" in name else tensor,
    "numbers that overflow around z": lambda name, tensor: (
        tensor * 1e35 if name.startswith("latent_memory") else tensor
    ),
    "a head that overflows": lambda name, tensor: tensor * 1e39 if name.startswith("head") else tensor,
    "NaN": lambda name, tensor: tensor * float("nan") if name.startswith("posterior") else tensor,
    "infinity": lambda name, tensor: tensor / 0.0 if name.startswith("posterior") else tensor,
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
def test_what_computes_nothing_finite_is_refused(spoil: Spoil) -> None:
    with pytest.raises(WeightsCorrupted, match=r"tiny@000000000001 was tried.*train the set again"):
        try_out(spoilt(tiny_set(PREFIXED), spoil), tiny_pretrained())


def test_a_prior_that_draws_nothing_finite_is_refused() -> None:
    tensors = tiny_prior(PREFIXED).to_tensors()
    tensors["flow.output.bias"] = torch.full_like(tensors["flow.output.bias"], 3e38)
    with pytest.raises(WeightsCorrupted, match="was tried"):
        try_out(replace(tiny_set(PREFIXED), prior_tensors=tensors), tiny_pretrained())


def test_files_of_the_largest_numbers_are_refused_before_they_are_installed(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path)
    path = publish_tiny(tmp_path / "own", settings.weights, "plain", PLAIN, seed=3)
    trial = SetTrial(tiny_pretrained(), BOUND)
    digests = {"backbone_digest": tiny_pretrained().digest, "tokenizer_digest": tiny_pretrained().tokenizer.digest}
    forge_manifest(path, lambda values: values.update(digests))
    assert trial.try_directory(path)
    forge_manifest(path, lambda values: values["config"].update(adapter_scale=1e4))
    content = (path / TENSORS).read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    largest = content[:begin] + b"\xff\x7b" * ((len(content) - begin) // 2)
    (path / TENSORS).write_bytes(largest)
    forge_manifest(path, lambda values: values["files"][TENSORS].update(sha256=hashlib.sha256(largest).hexdigest()))
    read_adapter_set(path)
    with pytest.raises(WeightsCorrupted, match="was tried"):
        trial.try_directory(path)


def test_a_set_for_another_backbone_is_not_tried(tmp_path: Path) -> None:
    path = publish(tmp_path)
    for trial in (SetTrial(tiny_pretrained(), BOUND), SetTrial(None, BOUND)):
        assert not trial.can_try(read_manifest(path))
        assert not trial.try_directory(path)


def test_a_set_that_is_too_large_for_memory_is_refused(tmp_path: Path) -> None:
    manifest = read_manifest(publish(tmp_path))
    with pytest.raises(AdapterSetMismatch, match=rf"{manifest.reference} has .* bytes of tensors.*ADAVAE_BANK_BYTES"):
        SetTrial(None, 10).accept(manifest)
