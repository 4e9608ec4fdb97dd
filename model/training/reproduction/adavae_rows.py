"""AdaVAE as a row: the product's own training run, whichever parts it has and whatever is frozen."""

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import cast

from torch import nn
from torch.nn.attention import sdpa_kernel

from adavae.model.adavae import AdaVAE
from adavae.model.config import AdapterConfig
from adavae.model.parts.bottleneck import LayerAdapters
from adavae.model.training.config import FreeBits, Preset, TrainingConfig, preset_config
from adavae.model.training.loop import attention_backends
from adavae.model.training.reproduction.rows import Setting, Trained
from adavae.model.training.reproduction.systems.classifiers import encoder_parts
from adavae.model.training.reproduction.systems.trained_adavae import TrainedAdaVAE
from adavae.model.training.training_run import TrainingRun

LAMBDA = 0.5
"""Free bits of every row of Table 1."""


def train_adavae(
    setting: Setting,
    adapter: AdapterConfig,
    free_bits: float = LAMBDA,
    *,
    is_full_fine_tuning: bool = False,
    input_dropout: float = 0.0,
    has_decoder_adapters: bool = True,
) -> Trained:
    """Trains one variant by ``loop.TrainingRun``.

    Args:
        setting: Texts, sizes and seed.
        adapter: The variant's parts, with the paper's sizes for a width of 768; they shrink with the backbone.
        free_bits: lambda, nats a dimension: on the whole KL, as Eq. 4 has it, it holds next to no information.
        is_full_fine_tuning: Encoder and decoder are copies of which every weight trains, and there are no adapters.
        input_dropout: Largest share of a text's tokens that the encoder does not get to read.
        has_decoder_adapters: Without them the decoder is the backbone as it is, and z all that it is told.
    """
    backbone = setting.pretrained.backbone
    config = replace(
        adavae_config(setting, adapter, free_bits, is_full_fine_tuning=is_full_fine_tuning), input_dropout=input_dropout
    )
    with tempfile.TemporaryDirectory() as directory:
        run = TrainingRun(config, backbone, setting.corpus.training, setting.corpus.validation, Path(directory))
        if is_full_fine_tuning:
            _take_away(run.vae.bank.encoder_adapters)
        if is_full_fine_tuning or not has_decoder_adapters:
            _take_away(run.vae.bank.decoder_adapters)
        with sdpa_kernel(attention_backends(setting.device)):
            while run.step < setting.scale.steps:
                loss, _ = run.take_step()
                setting.on_step(run.step, setting.scale.steps, float(loss.total))
    trained = sum(each.numel() for each in run.vae.bank.parameters())
    if is_full_fine_tuning:
        vae, original = run.vae, 2 * backbone.num_parameters
        tuned = [vae.backbone, *encoder_parts(vae.encoder_backbone, config.adapter.encoder_layers)]
        trained += sum(each.numel() for part in tuned for each in part.parameters())
    else:  # measured over the backbone itself, not over its copy in bfloat16
        vae, original = AdaVAE(backbone, run.vae.bank), backbone.num_parameters
    return Trained(TrainedAdaVAE(vae.requires_grad_(False)), trained, original, "the backbone's")


def _take_away(layers: Iterable[nn.Module]) -> None:
    for layer in layers:
        cast(LayerAdapters, layer).placed.clear()


def adavae_config(
    setting: Setting, adapter: AdapterConfig, free_bits: float = LAMBDA, *, is_full_fine_tuning: bool = False
) -> TrainingConfig:
    """The preset of language models at the table's sizes; adapters shrink with the backbone."""
    shape, scale = setting.pretrained.backbone.config, setting.scale
    preset = preset_config(Preset.LANGUAGE_MODELLING, shape)
    parts = replace(
        adapter,
        latent_size=scale.latent_size,
        encoder_layers=preset.adapter.encoder_layers,
        adapter_size=max(1, adapter.adapter_size * shape.n_embd // 768),
    )
    return replace(
        preset,
        adapter=parts,
        epochs=10_000.0,
        max_steps=max(1, scale.steps),
        min_steps=0,
        min_batches=1,
        batch_size=scale.batch_size,
        free_bits=free_bits,
        free_bits_form=FreeBits.PER_DIMENSION,
        is_full_fine_tuning=is_full_fine_tuning,
        seed=setting.seed,
    )
