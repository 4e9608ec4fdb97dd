"""One adapter set on disk: whole or not at all, and never other than its version says."""

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import torch as safetensors

from adavae.model.config import AdapterConfig, EncoderAttention
from adavae.model.errors import (
    AdapterSetMismatch,
    AdapterSetNotFound,
    AdaVAEError,
    ConfigError,
    StorageFull,
    WeightsCorrupted,
)
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.bank_shape import BankShape
from adavae.model.storage.adapter_name import check_name
from adavae.model.storage.adapter_set import NewAdapterSet, read_adapter_set, write_adapter_set
from adavae.model.storage.manifest import CARD, MANIFEST, TENSORS, FileEntry, Manifest, check_fits, read_manifest
from tests.tiny import PLAIN, PREFIXED, TINY, VARIANTS, trained_bank
from tests.tiny_sets import (
    BACKBONE_DIGEST,
    CARD_TEXT,
    METRICS,
    TOKENIZER_DIGEST,
    TRAINING,
    edit_manifest,
    forge_manifest,
    names_under,
    publish,
    tiny_tensors,
)

NO_NAMES = ["", ".", "..", ".hidden", "-dash", "Demo", "a b", "a/b", "../up", "/root", "a\n", "é", "a" * 65, "a@b"]
TEXTS = ("name", "created_at", "backbone_digest", "tokenizer_digest")  # any text will do
OBJECTS = ("metrics", "training")
KINDS: tuple[Any, ...] = (None, 7, [], "text", {"a": None}, {"a": {"b": 1}})


def recorded(manifest: Manifest, **changes: Any) -> Manifest:
    """``manifest`` changed, with the version that its content then has."""
    changed = replace(manifest, **changes)
    return replace(changed, version=changed.content_version())


def test_only_a_set_with_a_causal_encoder_says_what_its_encoder_sees(tmp_path: Path) -> None:
    """A set of a time without that choice keeps its version."""
    causal = replace(PLAIN, encoder_attention=EncoderAttention.CAUSAL)
    for config, is_named in ((PLAIN, False), (causal, True)):
        path = publish(tmp_path, config=config)
        assert ("encoder_attention" in json.loads((path / MANIFEST).read_text())["config"]) is is_named
        assert read_adapter_set(path).manifest.config == config


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = publish(tmp_path, config=PREFIXED)
    adapter_set = read_adapter_set(path)
    manifest = adapter_set.manifest
    assert path == tmp_path / "demo" / manifest.version
    assert manifest.reference == f"demo@{manifest.version}"
    assert (manifest.config, manifest.metrics, manifest.training) == (PREFIXED, METRICS, TRAINING)
    assert (manifest.backbone_digest, manifest.tokenizer_digest) == (BACKBONE_DIGEST, TOKENIZER_DIGEST)
    assert manifest.shapes == {"decoder.0.down.weight": (3, 2), "mu.bias": (4,)}
    assert (path / CARD).read_text(encoding="utf-8") == CARD_TEXT
    for name, tensor in tiny_tensors().items():
        assert adapter_set.tensors[name].dtype is torch.float16
        assert torch.equal(adapter_set.tensors[name].float(), tensor)


@pytest.mark.parametrize("config", VARIANTS)
def test_a_trained_bank_survives_the_disk(tmp_path: Path, config: AdapterConfig) -> None:
    trained = {name: tensor.half().float() for name, tensor in trained_bank(config).export().items()}
    adapter_set = read_adapter_set(publish(tmp_path, config=config, tensors=trained))
    bank = AdapterBank(TINY, BankShape.covering([config]))
    bank.load(0, adapter_set.manifest.config, adapter_set.tensors)
    again = bank.export()
    assert again.keys() == trained.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in trained.items())


def test_a_fitted_prior_is_read_back_and_without_one_the_standard_normal_stands(tmp_path: Path) -> None:
    fitted = FittedPrior((0.5,) * PLAIN.latent_size, (0.25,) * PLAIN.latent_size)
    assert read_manifest(publish(tmp_path, fitted_prior=fitted)).prior == fitted
    assert read_manifest(publish(tmp_path)).prior == FittedPrior.standard(PLAIN.latent_size)


def test_a_set_is_three_files_that_others_may_read(tmp_path: Path) -> None:
    path = publish(tmp_path)
    assert names_under(path) == sorted([TENSORS, MANIFEST, CARD])
    previous = os.umask(0o022)
    os.umask(previous)
    assert {stat.S_IMODE((path / name).stat().st_mode) for name in (TENSORS, MANIFEST, CARD)} == {0o666 & ~previous}


def test_tensors_are_stored_in_half_precision(tmp_path: Path) -> None:
    stored = safetensors.load_file(publish(tmp_path) / TENSORS)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}


def test_tensors_that_are_views_are_stored_as_they_look(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    path = publish(tmp_path, tensors={"a": whole.T, "b": whole[:, 1], "c": whole.half(), "d": whole.requires_grad_()})
    tensors = read_adapter_set(path).tensors
    assert torch.equal(tensors["a"], whole.detach().T)
    assert torch.equal(tensors["b"], whole.detach()[:, 1])
    assert torch.equal(tensors["c"], whole.detach())


def test_the_same_content_twice_is_the_same_path(tmp_path: Path) -> None:
    path = publish(tmp_path)
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir()}
    assert publish(tmp_path) == path
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir()} == before
    assert names_under(tmp_path) == names_under(path.parent.parent)
    assert len(names_under(tmp_path)) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"created_at": "2026-01-02T03:04:06+00:00"},
        {"config": replace(PLAIN, adapter_scale=0.5)},
        {"tensors": tiny_tensors(seed=1)},
        {"metrics": {**METRICS, "ppl": 7.0}},
        {"training": {**TRAINING, "steps": 101}},
        {"backbone_digest": "c" * 64},
        {"model_card": CARD_TEXT + "\n"},
        {"fitted_prior": FittedPrior.standard(PLAIN.latent_size)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_content_is_another_version(tmp_path: Path, change: dict[str, Any]) -> None:
    usual, other = publish(tmp_path), publish(tmp_path, **change)
    assert usual.name != other.name
    assert read_adapter_set(usual).manifest != read_adapter_set(other).manifest


@pytest.mark.parametrize("name", NO_NAMES)
def test_names_that_may_not_be_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    """A name with a line break at its end was let through."""
    with pytest.raises(ConfigError, match=r"name is .*must be 1 to 64 of a-z"):
        publish(tmp_path, name=name)
    assert names_under(tmp_path) == []


@pytest.mark.parametrize("name", ["a", "0", "yelp-reviews_v1.2", "a" * 64, "a..b"])
def test_names_that_may_be_are_let_through(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 65520.0, -1e5, 1e38])
def test_numbers_that_half_precision_cannot_hold_are_refused_by_tensor(tmp_path: Path, number: float) -> None:
    tensors = tiny_tensors()
    tensors["mu.bias"][2] = number
    with pytest.raises(ConfigError, match=r"^mu\.bias is .*float16"):
        publish(tmp_path, tensors=tensors)
    assert names_under(tmp_path) == []


def test_the_largest_half_precision_number_is_stored(tmp_path: Path) -> None:
    tensors = {"a": torch.tensor([65504.0, -65504.0, 6e-8])}
    assert read_adapter_set(publish(tmp_path, tensors=tensors)).tensors["a"][:2].tolist() == [65504.0, -65504.0]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("num_writes", [0, 1, 2])
def test_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, num_writes: int
) -> None:
    real = os.write
    written: list[int] = []

    def write(descriptor: int, content: memoryview) -> int:
        if len(written) == num_writes:
            raise OSError(number, os.strerror(number))
        written.append(descriptor)
        return real(descriptor, content)

    monkeypatch.setattr("os.write", write)
    with pytest.raises(StorageFull, match=r"bytes .*make room"):
        publish(tmp_path)
    assert names_under(tmp_path) == []


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "rename"])
@pytest.mark.parametrize("raised", [KeyboardInterrupt, OSError(errno.ENOSPC, "no space"), OSError(errno.EIO, "broken")])
def test_an_interrupt_at_any_call_leaves_no_half_written_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, raised: BaseException | type[BaseException]
) -> None:
    """Ctrl-C or a dying disk at the first, the second ... call: afterwards there is nothing, or the whole set."""
    real = getattr(os, call)
    num_calls = 0
    for num_before in range(30):
        num_calls = 0
        root = tmp_path / str(num_before)

        def interrupted(*arguments: Any, last: int = num_before) -> Any:
            nonlocal num_calls
            num_calls += 1
            if num_calls > last:
                raise raised
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, interrupted)
            try:
                publish(root)
            except (KeyboardInterrupt, OSError, StorageFull):
                pass
            else:
                break
        left = names_under(root)
        if left:
            (path,) = root.glob("demo/*")
            read_adapter_set(path)
            assert len(left) == 5
        assert read_adapter_set(publish(root)).manifest.name == "demo"
    assert 0 < num_calls <= num_before, "the call was never reached"


def test_every_flipped_bit_that_changes_the_case_of_a_letter_is_found(tmp_path: Path) -> None:
    """In the manifest not all were: 1e-05 and 1E-05 are the same number. Other flips: ``tests/property``."""
    path = publish(tmp_path)
    for name in (TENSORS, MANIFEST, CARD):
        content = (path / name).read_bytes()
        for offset in (offset for offset, byte in enumerate(content) if chr(byte).isalpha()):
            (path / name).write_bytes(content[:offset] + bytes([content[offset] ^ 0x20]) + content[offset + 1 :])
            with pytest.raises((WeightsCorrupted, AdapterSetMismatch)):
                read_manifest(path) if name == MANIFEST else read_adapter_set(path)
        (path / name).write_bytes(content)
    read_adapter_set(path)


def test_a_number_spelled_otherwise_is_found(tmp_path: Path) -> None:
    path = publish(tmp_path)
    content = (path / MANIFEST).read_bytes()
    for written, other in (
        (b"1e-05", b"1E-05"),
        (b"0.30000000000000004", b"0.30000000000000005"),
        (b"\\u2603", b"\\U2603"),
    ):
        assert written in content
        (path / MANIFEST).write_bytes(content.replace(written, other))
        with pytest.raises(WeightsCorrupted):
            read_manifest(path)


@pytest.mark.parametrize("name", [TENSORS, MANIFEST, CARD])
@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"\n", lambda _: b""])
def test_files_cut_short_or_grown_are_found(tmp_path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    path = publish(tmp_path)
    (path / name).write_bytes(change((path / name).read_bytes()))
    with pytest.raises(WeightsCorrupted, match=rf"{name}.*install the set again"):
        read_adapter_set(path)


@pytest.mark.parametrize("name", [TENSORS, CARD])
def test_a_file_that_is_missing_is_found(tmp_path: Path, name: str) -> None:
    path = publish(tmp_path)
    (path / name).unlink()
    with pytest.raises(WeightsCorrupted, match=rf"{name} cannot be read"):
        read_adapter_set(path)


def test_a_directory_without_manifest_is_no_set(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(AdapterSetNotFound, match=MANIFEST):
            read_adapter_set(path)


@pytest.mark.parametrize("version", [0, 2, 99, "1", None, 1.5])
def test_an_unknown_format_version_is_refused(tmp_path: Path, version: Any) -> None:
    path = publish(tmp_path)
    edit_manifest(path, lambda values: values.update(format_version=version))
    with pytest.raises(AdapterSetMismatch, match=r"this version reads 1: update adavae"):
        read_manifest(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"\xff\xfe\x00",
        b"{}" * 2,
        b"[" * 100_000,
        b'{"format_version": 1}',
        b" " * (4 * 1024**2 + 1),
    ],
    ids=lambda content: content[:12].decode("latin-1"),
)
def test_a_manifest_of_anything_else_is_damaged(tmp_path: Path, content: bytes) -> None:
    """Brackets nested too deeply ended in a RecursionError."""
    path = publish(tmp_path)
    (path / MANIFEST).write_bytes(content)
    with pytest.raises((WeightsCorrupted, AdapterSetMismatch)):
        read_manifest(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (field, value)
        for field in Manifest.__dataclass_fields__
        for value in KINDS
        if not (isinstance(value, str) and field in TEXTS) and not (isinstance(value, dict) and field in OBJECTS)
    ],
)
def test_a_field_of_the_wrong_kind_is_damage_also_where_the_version_fits(
    tmp_path: Path, field: str, value: Any
) -> None:
    """A creation date that was a number broke the listing of all sets."""
    path = publish(tmp_path)
    forge_manifest(path, lambda values: values.update({field: value}))
    if field == "version":
        edit_manifest(path, lambda values: values.update({field: value}))
    with pytest.raises((WeightsCorrupted, AdapterSetMismatch)):
        read_adapter_set(path)


@pytest.mark.parametrize("name", [name for name in NO_NAMES if name])
def test_a_forged_name_is_refused(tmp_path: Path, name: str) -> None:
    """A set that called itself ../../elsewhere was installed there."""
    path = publish(tmp_path)
    forge_manifest(path, lambda values: values.update(name=name))
    with pytest.raises(WeightsCorrupted, match="must be 1 to 64 of a-z"):
        read_manifest(path)


@pytest.mark.parametrize(
    "edit",
    [
        lambda values: values.pop("shapes"),
        lambda values: values.update(surplus=1),
        lambda values: values["files"].pop(CARD),
        lambda values: values["files"].update({"../other": values["files"][CARD]}),
        lambda values: values["files"][CARD].pop("sha256"),
        lambda values: values["files"][TENSORS].update(num_bytes=1),
        lambda values: values["shapes"].update({"mu.bias": [5]}),
        lambda values: values["shapes"].pop("mu.bias"),
        lambda values: values["config"].update(latent_size="4"),
        lambda values: values["config"].update(adapter_scale="1"),
        lambda values: values["config"].update(adapter_scale=float("nan")),
        lambda values: values["config"].update(latent_infusion="none"),
        lambda values: values["config"].update(labels=7),
        lambda values: values["config"].update(labels=[1, 2]),
        lambda values: values["config"].update(surplus=1),
        lambda values: values.update(fitted_prior={"mean": [0.0], "std": [1.0]}),
        lambda values: values.update(fitted_prior={"mean": ["x"]}),
    ],
)
def test_a_forged_manifest_that_makes_no_sense_is_refused(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    path = publish(tmp_path)
    forge_manifest(path, edit)
    with pytest.raises(WeightsCorrupted):
        read_adapter_set(path)


def test_tensors_that_are_no_safetensors_are_refused_also_where_their_hash_fits(tmp_path: Path) -> None:
    path = publish(tmp_path)
    for content in (b"", b"not tensors", b"\xff" * 64, b"\x80\x04\x95pickle"):
        (path / TENSORS).write_bytes(content)
        entry = FileEntry.of(content)
        forge_manifest(path, lambda values, entry=entry: values["files"][TENSORS].update(vars_of(entry)))  # type: ignore[misc]
        with pytest.raises(WeightsCorrupted, match=rf"{TENSORS}|numbers are {len(content)} bytes"):
            read_adapter_set(path)


def vars_of(entry: FileEntry) -> dict[str, Any]:
    return {"sha256": entry.sha256, "num_bytes": entry.num_bytes}


def test_a_set_fits_the_backbone_and_tokenizer_it_was_trained_over(tmp_path: Path) -> None:
    manifest = read_manifest(publish(tmp_path))
    check_fits(manifest, [BACKBONE_DIGEST], TOKENIZER_DIGEST)
    with pytest.raises(
        AdapterSetMismatch, match=rf"{manifest.reference} was trained over another backbone .*bbbb.*cccc"
    ):
        check_fits(manifest, ["c" * 64], TOKENIZER_DIGEST)
    with pytest.raises(AdapterSetMismatch, match="another tokenizer"):
        check_fits(manifest, [BACKBONE_DIGEST], "c" * 64)


def test_a_manifest_for_another_backbone_cannot_be_passed_off_as_one_for_this(tmp_path: Path) -> None:
    path = publish(tmp_path, backbone_digest="c" * 64)
    edit_manifest(path, lambda values: values.update(backbone_digest=BACKBONE_DIGEST))
    with pytest.raises(WeightsCorrupted, match="was changed"):
        read_manifest(path)


def test_manifest_survives_json(tmp_path: Path) -> None:
    manifest = read_manifest(publish(tmp_path, config=PREFIXED))
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest
    assert recorded(manifest) == manifest
    assert recorded(manifest, created_at="later").version != manifest.version


def test_every_refusal_is_one_of_this_projects_errors() -> None:
    for error in (WeightsCorrupted, AdapterSetMismatch, AdapterSetNotFound, ConfigError, StorageFull):
        assert issubclass(error, AdaVAEError)


def test_a_set_is_prepared_where_it_is_told_to_be(tmp_path: Path) -> None:
    """Whoever prepares it elsewhere clears up there what a crash leaves."""
    seen: list[list[str]] = []

    root, elsewhere = tmp_path / "root", tmp_path / "run"

    @contextmanager
    def publishing(manifest: Manifest) -> Iterator[None]:
        seen.append(names_under(tmp_path))
        yield
        assert read_adapter_set(root / "demo" / manifest.version).manifest == manifest

    for _ in range(2):
        write_adapter_set(
            root,
            NewAdapterSet(
                name="demo",
                config=PLAIN,
                tensors=tiny_tensors(),
                backbone_digest=BACKBONE_DIGEST,
                tokenizer_digest=TOKENIZER_DIGEST,
                metrics={},
                training={},
                created_at="2026-01-02T03:04:05+00:00",
                model_card=CARD_TEXT,
            ),
            staging_parent=elsewhere,
            publishing=publishing,
        )
    assert len(seen[0]) == 5
    assert all(name.startswith("run") for name in seen[0])
    assert len(seen) == 2


def test_a_set_fits_a_backbone_by_its_former_digest_too(tmp_path: Path) -> None:
    manifest = read_manifest(publish(tmp_path))
    check_fits(manifest, ["c" * 64, BACKBONE_DIGEST], TOKENIZER_DIGEST)
    with pytest.raises(AdapterSetMismatch, match="here is cccc"):
        check_fits(manifest, ["c" * 64, "d" * 64], TOKENIZER_DIGEST)
