"""A whole tiny installation on disk: a backbone, three adapter sets, and the settings that find them."""

from pathlib import Path
from typing import Any

from adavae.model.config import AdapterConfig
from adavae.model.latent.prior import LatentPrior
from adavae.model.storage.adapter_set import NewAdapterSet, write_adapter_set
from adavae.model.storage.pretrained import load_backbone, save_backbone
from adavae.service.settings import Settings
from tests.tiny_text import NAMED, tiny_pretrained, tiny_set


def tiny_settings(home: Path, **fields: Any) -> Settings:
    """Settings over a tiny installation under ``home``, which is made on the first call."""
    weights = home / "weights"
    if not weights.exists():
        pretrained = tiny_pretrained()
        save_backbone(weights / "backbone", pretrained.backbone, pretrained.tokenizer)
        for seed, (name, config) in enumerate(NAMED.items(), start=1):
            publish_tiny(weights / "adapters", weights, name, config, seed)
    chosen: dict[str, Any] = {
        "weights": weights,
        "data": home / "data",
        "default_adapter": "prefixed",
        "max_tokens": 16,
        "decode_rows": 8,
        "bank_slots": 4,
        "refresh_s": 0.05,
        "port": 0,
    }
    return Settings(**(chosen | fields))


def publish_tiny(
    root: Path,
    weights: Path,
    name: str,
    config: AdapterConfig,
    seed: int,
    *,
    created_at: str = "2026-01-02T03:04:05+00:00",
    prior: LatentPrior | None = None,
) -> Path:
    """An adapter set over the tiny backbone of ``weights``; seeds differ in every number."""
    backbone = load_backbone(weights / "backbone")
    return write_adapter_set(
        root,
        NewAdapterSet(
            name=name,
            config=config,
            tensors=tiny_set(config, seed).tensors,
            backbone_digest=backbone.digest,
            tokenizer_digest=backbone.tokenizer.digest,
            metrics={"neg_elbo": 12.5, "au": 4},
            training={"preset": "generation"},
            created_at=created_at,
            model_card=f"# {name}\n",
            prior_tensors=None if prior is None else prior.to_tensors(),
        ),
    )
