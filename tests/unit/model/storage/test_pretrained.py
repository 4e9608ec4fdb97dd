"""Checkpoints of a tiny GPT-2 on disk: the round trip, old layouts, the digest, and every fault by its name."""

import errno
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import torch as safetensors
from torch import Tensor

from adavae.model.backbone import Backbone
from adavae.model.config import BackboneConfig
from adavae.model.errors import BackboneNotFound, ConfigError, StorageFull, WeightsCorrupted
from adavae.model.storage import atomic as storage
from adavae.model.storage.pretrained import load_backbone, save_backbone
from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.corpus import Dataset
from adavae.model.training.pretrain_start import fresh_backbone
from adavae.model.training.token_windows import train_tokenizer

SHAPE = BackboneConfig(vocab_size=270, n_positions=16, n_embd=16, n_layer=2, n_head=2, n_inner=24)
TOKEN_IDS = torch.tensor([[0, 7, 200, 31, 5], [0, 9, 9, 1, 77]])
C_ATTN = "transformer.h.1.attn.c_attn.weight"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([Dataset.of(["the cat sees the tree", "the tree"] * 9, None, "texts.txt")], 260)


@pytest.fixture
def checkpoint(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A directory in the Hugging Face layout."""
    directory = tmp_path / "checkpoint"
    save_backbone(directory, fresh_backbone(SHAPE, seed=5), tokenizer)
    return directory


def _tensors(directory: Path) -> dict[str, Tensor]:
    return safetensors.load_file(directory / "model.safetensors")


def _change_tensors(directory: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = _tensors(directory)
    change(tensors)
    whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    (directory / "model.safetensors").write_bytes(safetensors.save(whole))


def _change_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def _logits(backbone: Backbone) -> Tensor:
    with torch.no_grad():
        logits: Tensor = backbone(TOKEN_IDS)
    return logits


def _assert_corrupted(directory: Path, match: str) -> None:
    with pytest.raises(WeightsCorrupted, match=match):
        load_backbone(directory)


def test_a_saved_backbone_comes_back_frozen_and_to_float16(checkpoint: Path, tokenizer: Tokenizer) -> None:
    original = fresh_backbone(SHAPE, seed=5)
    loaded = load_backbone(checkpoint)
    assert loaded.backbone.config == SHAPE
    assert loaded.tokenizer.digest == tokenizer.digest
    assert loaded.source == str(checkpoint)
    assert not loaded.backbone.training
    for (name, tensors), found in zip(original.named_parameters(), loaded.backbone.parameters(), strict=True):
        assert not found.requires_grad, name
        assert found.dtype == torch.float32, name
        assert torch.equal(found, tensors.half().float()), name
    torch.testing.assert_close(_logits(loaded.backbone), _logits(original), atol=1e-3, rtol=1e-2)


def test_saving_what_was_loaded_changes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    loaded = load_backbone(checkpoint)
    save_backbone(tmp_path / "again", loaded.backbone, loaded.tokenizer)
    assert load_backbone(tmp_path / "again").digest == loaded.digest
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]


def test_weights_are_held_in_the_type_asked_for_and_the_digest_is_as_stored(checkpoint: Path) -> None:
    whole, half = load_backbone(checkpoint), load_backbone(checkpoint, torch.bfloat16)
    assert half.backbone.wte.weight.dtype == torch.bfloat16
    assert half.digest == whole.digest


def test_a_tied_output_embedding_stays_tied_after_loading(checkpoint: Path) -> None:
    """Regression: assigned weights left the output embedding random, for it had been tied to the ones replaced."""
    assert "lm_head.weight" not in _tensors(checkpoint)
    stored = _tensors(checkpoint)["transformer.wte.weight"]
    for dtype in (torch.float32, torch.bfloat16):
        backbone = load_backbone(checkpoint, dtype).backbone
        assert backbone.lm_head.weight is backbone.wte.weight
        assert torch.equal(backbone.lm_head.weight, stored.to(dtype))


def test_a_tied_output_embedding_that_was_stored_too_is_not_needed(checkpoint: Path) -> None:
    expected = _logits(load_backbone(checkpoint).backbone)
    _change_tensors(checkpoint, lambda tensors: tensors.update({"lm_head.weight": tensors["transformer.wte.weight"]}))
    assert torch.equal(_logits(load_backbone(checkpoint).backbone), expected)


def test_an_output_embedding_of_its_own_is_kept(tmp_path: Path, tokenizer: Tokenizer) -> None:
    config = BackboneConfig.from_hugging_face({**SHAPE.to_hugging_face(), "tie_word_embeddings": False})
    save_backbone(tmp_path, fresh_backbone(config, seed=5), tokenizer)
    backbone = load_backbone(tmp_path).backbone
    assert not torch.equal(backbone.lm_head.weight, backbone.wte.weight)
    assert torch.equal(backbone.lm_head.weight.half(), _tensors(tmp_path)["lm_head.weight"])


def test_names_without_the_transformer_prefix_and_stored_masks_are_read(checkpoint: Path) -> None:
    expected = _logits(load_backbone(checkpoint).backbone)

    def as_in_2019(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["h.0.attn.bias"] = torch.ones(1, 1, 16, 16).tril()
        tensors["h.0.attn.masked_bias"] = torch.tensor(-1e4)

    _change_tensors(checkpoint, as_in_2019)
    assert "wte.weight" in _tensors(checkpoint)
    assert torch.equal(_logits(load_backbone(checkpoint).backbone), expected)


def test_matrices_are_stored_input_first(checkpoint: Path) -> None:
    assert _tensors(checkpoint)[C_ATTN].shape == (16, 48)
    assert load_backbone(checkpoint).backbone.get_submodule("blocks.1.attn.c_attn").weight.shape == (48, 16)


def test_the_digest_changes_with_one_weight_with_its_type_and_with_the_shape(checkpoint: Path) -> None:
    digests = [load_backbone(checkpoint).digest, load_backbone(checkpoint).digest]
    assert len(set(digests)) == 1
    _change_tensors(checkpoint, lambda tensors: tensors[C_ATTN][3, 5].add_(0.25))
    digests.append(load_backbone(checkpoint).digest)
    _change_tensors(checkpoint, lambda tensors: tensors.update({C_ATTN: tensors[C_ATTN].float()}))
    digests.append(load_backbone(checkpoint).digest)
    _change_config(checkpoint, layer_norm_epsilon=1e-6)
    digests.append(load_backbone(checkpoint).digest)
    assert len(set(digests)) == 4


def test_the_digest_does_not_depend_on_where_the_checkpoint_lies(checkpoint: Path, tmp_path: Path) -> None:
    digest = load_backbone(checkpoint).digest
    moved = checkpoint.rename(tmp_path / "elsewhere")
    assert load_backbone(moved).digest == digest


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./nowhere", "a/b/c"])
def test_a_directory_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(BackboneNotFound, match="there is no directory"):
        load_backbone(name)


@pytest.mark.parametrize("error", [OSError("no network"), "missing"])
def test_a_hub_id_that_cannot_be_fetched_is_refused_with_a_remedy(
    error: OSError | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def refuse(hub_id: str, **options: object) -> str:
        assert (hub_id, sorted(options)) == ("someone/gpt2", ["allow_patterns"])
        raise LocalEntryNotFoundError("offline") if error == "missing" else OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(BackboneNotFound, match=r"could not be fetched.*check the name and the network"):
        load_backbone("someone/gpt2")


def test_a_hub_id_is_fetched_without_pickles(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[list[str]] = []

    def fetch(hub_id: str, *, allow_patterns: list[str]) -> str:  # noqa: ARG001
        asked.append(allow_patterns)
        return str(checkpoint)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    loaded = load_backbone("someone/gpt2")
    assert loaded.source == "someone/gpt2"
    assert {Path(name).suffix for name in asked[0]} == {".json", ".safetensors", ".txt"}


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(checkpoint: Path, missing: str) -> None:
    (checkpoint / missing).unlink()
    with pytest.raises(BackboneNotFound, match=missing.replace(".", r"\.")):
        load_backbone(checkpoint)


def test_a_pickle_alone_is_refused_with_the_way_out(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(BackboneNotFound, match=r"convert pytorch_model\.bin to safetensors"):
        load_backbone(checkpoint)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model_type": "bert"}, "model_type"),
        ({"activation_function": "swish"}, "activation_function"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"scale_attn_weights": False}, "scale_attn_weights"),
        ({"n_head": 3}, "n_embd"),
    ],
)
def test_what_is_not_a_gpt2_is_refused(checkpoint: Path, changes: dict[str, object], field: str) -> None:
    _change_config(checkpoint, **changes)
    with pytest.raises(ConfigError) as caught:
        load_backbone(checkpoint)
    assert caught.value.field == field


def test_a_config_without_a_size_names_it(checkpoint: Path) -> None:
    path = checkpoint / "config.json"
    config = json.loads(path.read_bytes())
    del config["n_layer"]
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="n_layer"):
        load_backbone(checkpoint)


@pytest.mark.parametrize("content", [b"", b'{"model_type": "gp', b"\xff\xfe"])
def test_a_damaged_config_is_reported_as_damage(checkpoint: Path, content: bytes) -> None:
    (checkpoint / "config.json").write_bytes(content)
    _assert_corrupted(checkpoint, r"config\.json is not JSON")


def test_a_config_that_is_no_object_is_refused(checkpoint: Path) -> None:
    (checkpoint / "config.json").write_text("[]")
    with pytest.raises(ConfigError, match="must be a JSON object"):
        load_backbone(checkpoint)


@pytest.mark.parametrize("kept", [0, 4, 300, -1])
def test_a_truncated_weights_file_is_refused(checkpoint: Path, kept: int) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    _assert_corrupted(checkpoint, r"model\.safetensors is damaged")


def test_a_missing_tensor_is_named(checkpoint: Path) -> None:
    _change_tensors(checkpoint, lambda tensors: tensors.pop(C_ATTN))
    _assert_corrupted(checkpoint, r"1 tensors .* first is blocks\.1\.attn\.c_attn\.weight .*found None")


def test_a_tensor_left_over_is_named(checkpoint: Path) -> None:
    _change_tensors(checkpoint, lambda tensors: tensors.update({"transformer.h.2.ln_1.weight": torch.ones(16)}))
    _assert_corrupted(checkpoint, r"1 tensors .* first is blocks\.2\.ln_1\.weight \(expected None")


def test_a_misshapen_tensor_is_named_with_both_shapes(checkpoint: Path) -> None:
    _change_tensors(checkpoint, lambda tensors: tensors.update({C_ATTN: tensors[C_ATTN].T}))
    _assert_corrupted(checkpoint, r"c_attn\.weight \(expected \(48, 16\), found \(16, 48\)\)")


def test_a_config_of_another_depth_is_refused(checkpoint: Path) -> None:
    _change_config(checkpoint, n_layer=3)
    _assert_corrupted(checkpoint, "12 tensors do not fit")


def test_a_tokenizer_of_more_tokens_than_the_model_is_refused(checkpoint: Path) -> None:
    _change_config(checkpoint, vocab_size=200)
    _assert_corrupted(checkpoint, "the tokenizer has token ids below 260, the model below 200")


def test_a_token_id_beyond_the_model_is_refused_however_few_tokens_there_are(checkpoint: Path) -> None:
    """Regression: tokens were counted, and an id behind a gap was an IndexError in the first text that used it."""
    path = checkpoint / "tokenizer.json"
    content = json.loads(path.read_bytes())
    vocab = content["model"]["vocab"]
    vocab[max(vocab, key=vocab.__getitem__)] = 5000
    path.write_text(json.dumps(content))
    _assert_corrupted(checkpoint, "the tokenizer has token ids below 5001, the model below 270")


def test_a_tokenizer_with_another_end_of_text_than_the_model_is_refused(checkpoint: Path) -> None:
    """Regression: decoding waited for an end that the model never writes."""
    _change_config(checkpoint, eos_token_id=5)
    _assert_corrupted(checkpoint, "end-of-text is token 0 in the tokenizer and 5 in config")


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_a_tensor_of_whole_numbers_is_refused(checkpoint: Path, dtype: torch.dtype) -> None:
    """Regression: a quantised checkpoint was a RuntimeError that spoke of dimensions."""
    _change_tensors(checkpoint, lambda tensors: tensors.update({C_ATTN: tensors[C_ATTN].to(dtype)}))
    _assert_corrupted(checkpoint, r"blocks\.1\.attn\.c_attn\.weight is stored as torch\.\w+: .*whole precision")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_not_finite_is_refused(checkpoint: Path, value: float) -> None:
    """Regression: it loaded, and every answer of the model was not a number."""
    _change_tensors(checkpoint, lambda tensors: tensors[C_ATTN][3, 5].fill_(value))
    _assert_corrupted(checkpoint, r"c_attn\.weight has values that are not finite")


def test_a_tensor_under_both_of_its_names_is_refused(checkpoint: Path) -> None:
    """Regression: whichever came last in the file was taken."""
    _change_tensors(checkpoint, lambda tensors: tensors.update({"ln_f.weight": torch.zeros(16)}))
    _assert_corrupted(checkpoint, r"holds ln_f\.weight twice")


def test_a_checkpoint_without_safetensors_is_refused_with_what_to_do(checkpoint: Path) -> None:
    """Regression: for a hub repository of pickles alone the remedy was to fetch the same again."""
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(BackboneNotFound, match=r"no model\.safetensors: .*convert it to one safetensors file"):
        load_backbone(checkpoint)


def test_a_disk_that_fills_up_leaves_the_old_checkpoint(
    checkpoint: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_backbone(checkpoint).digest

    def refuse(path: Path, chunks: Iterable[bytes]) -> None:
        path.write_bytes(b"".join(chunks)[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage, "_write_and_sync", refuse)
    with pytest.raises(StorageFull, match="make room"):
        save_backbone(checkpoint, fresh_backbone(SHAPE, seed=6), tokenizer)
    assert load_backbone(checkpoint).digest == before
    assert len(list(checkpoint.iterdir())) == 3
