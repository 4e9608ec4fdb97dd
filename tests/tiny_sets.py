"""Tiny adapter sets on disk for tests: two tensors, and a manifest with numbers of every spelling that JSON has."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adavae.model.config import AdapterConfig
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.storage.adapter_set import NewAdapterSet, write_adapter_set
from adavae.model.storage.manifest import MANIFEST
from adavae.model.storage.publication import PUBLICATION
from tests.tiny import PLAIN

BACKBONE_DIGEST, TOKENIZER_DIGEST = "b" * 64, "7" * 64
METRICS = {"neg_elbo": 41.25, "au": 4, "ppl": 1e30, "data": "tiny.txt", "note": "na\u00efve \u2603"}
TRAINING = {
    "preset": "generation",
    "settings": {"learning_rate": 1e-5, "sum": 0.1 + 0.2},
    "command": "adavae train tiny.txt --name demo",
    "data": {"source": "tiny.txt", "rows": 1234, "digest": "d" * 64, "truncated": 2},
    "steps": 100,
    "duration_s": 90,
}
CARD_TEXT = "# demo\n\nA na\u00efve set \u2603.\n"


def tiny_tensors(seed: int = 0) -> dict[str, Tensor]:
    """float32 numbers that float16 holds exactly."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "decoder.0.down.weight": torch.randn(3, 2, generator=generator).half().float(),
        "mu.bias": torch.randn(4, generator=generator).half().float(),
    }


def publish(
    root: Path,
    *,
    name: str = "demo",
    created_at: str = "2026-01-02T03:04:05+00:00",
    config: AdapterConfig = PLAIN,
    tensors: Mapping[str, Tensor] | None = None,
    metrics: Mapping[str, Any] = METRICS,
    training: Mapping[str, Any] = TRAINING,
    backbone_digest: str = BACKBONE_DIGEST,
    model_card: str = CARD_TEXT,
    fitted_prior: FittedPrior | None = None,
    prior_tensors: Mapping[str, Tensor] | None = None,
) -> Path:
    """An adapter set that differs from the usual one in what is given."""
    return write_adapter_set(
        root,
        NewAdapterSet(
            name=name,
            config=config,
            tensors=tiny_tensors() if tensors is None else tensors,
            backbone_digest=backbone_digest,
            tokenizer_digest=TOKENIZER_DIGEST,
            metrics=dict(metrics),
            training=dict(training),
            created_at=created_at,
            model_card=model_card,
            fitted_prior=fitted_prior,
            prior_tensors=prior_tensors,
        ),
    )


def edit_manifest(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Changes a set's manifest and nothing else: its version no longer fits."""
    values = json.loads((path / MANIFEST).read_bytes())
    edit(values)
    (path / MANIFEST).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def forge_manifest(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Changes a set's manifest and its version with it, as somebody would who means harm."""

    def edit_and_sign(values: dict[str, Any]) -> None:
        edit(values)
        unsigned = {name: value for name, value in values.items() if name != "version"}
        canonical = json.dumps(unsigned, sort_keys=True, separators=(",", ":"))
        values["version"] = hashlib.sha256(canonical.encode()).hexdigest()[:12]

    edit_manifest(path, edit_and_sign)


def names_under(root: Path) -> list[str]:
    """Everything under ``root``, hidden files too, but for the order of publication that a store keeps."""
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.name != PUBLICATION]
    return sorted(name for name in names if name.split("/")[0] != ".publications")
