"""A new card for a set that is trained already: what its latent space writes, and where its data come from."""

from dataclasses import replace

from adavae.model.storage.adapter_set import AdapterSet, NewAdapterSet
from adavae.model.storage.card_metadata import Origin
from adavae.model.storage.model_card import model_card
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.text_model import TextModel
from adavae.model.training.corpus import Dataset
from adavae.model.training.latent_cases import LatentSpaceConfig
from adavae.model.training.latent_space import measure_latent_space
from adavae.model.training.operations import AsServed
from adavae.model.training.progress import OnStage, ignore_stage

CARD_SIZES = LatentSpaceConfig(
    num_walks=40, num_draws=500, num_pairs=20, num_sentences=10, num_texts=1000, num_samples=30
)
"""How many cases the figures of a card are from."""


def described(
    adapter_set: AdapterSet,
    pretrained: PretrainedBackbone,
    held_out: Dataset,
    learned: Dataset,
    origin: Origin,
    config: LatentSpaceConfig = CARD_SIZES,
    on_stage: OnStage = ignore_stage,
) -> NewAdapterSet:
    """The same tensors with the figures of their latent space; other figures stay as they were.

    Args:
        adapter_set: The set.
        pretrained: Its backbone.
        held_out: Real texts that it has not learned from.
        learned: Its training texts, from which the judges learn.
        origin: What only its maker knows of it.
        config: What to measure.
        on_stage: Called with the stage, the number of cases done and their total.
    """
    manifest = adapter_set.manifest
    text_model = TextModel.of_sets(pretrained, {manifest.name: adapter_set})
    space = measure_latent_space(AsServed(text_model, manifest.name), held_out, learned, config, on_stage)
    metrics = {**manifest.metrics, "latent_space": space}
    new = NewAdapterSet(
        name=manifest.name,
        config=manifest.config,
        tensors=adapter_set.tensors,
        backbone_digest=manifest.backbone_digest,
        tokenizer_digest=manifest.tokenizer_digest,
        metrics=metrics,
        training=manifest.training,
        created_at=manifest.created_at,
        model_card="",
        fitted_prior=manifest.fitted_prior,
        prior_tensors=adapter_set.prior_tensors,
    )
    return replace(
        new,
        model_card=model_card(
            name=manifest.name,
            config=manifest.config,
            metrics=metrics,
            training=manifest.training,
            created_at=manifest.created_at,
            origin=origin,
        ),
    )
