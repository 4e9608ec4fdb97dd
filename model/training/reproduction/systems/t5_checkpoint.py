"""T5 VAE that begins from a T5 of a checkpoint, as Park and Lee tune t5-base; needs transformers."""

from typing import Any

import torch
from torch import Tensor

from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.checkpoint import Checkpoint
from adavae.model.training.reproduction.systems.t5_vae import T5VAE

KINDS = frozenset({"t5"})
"""Models that a checkpoint may be one of."""


class CheckpointT5VAE(T5VAE):
    """T5's habits besides: the end follows what the encoder reads, padding begins what the decoder reads.

    The output layer is the checkpoint's own. Its token embeddings may be the same weights; then the last states are
    scaled by ``1 / sqrt(C)``, as T5 has it.
    """

    def __init__(self, t5: Any, latent_size: int, adapter_size: int | None) -> None:
        """From a T5 with its output layer, which is changed.

        Args:
            t5: Of class ``T5ForConditionalGeneration``.
            latent_size: Z.
            adapter_size: A; None tunes every weight.
        """
        super().__init__(t5, latent_size, t5.config.eos_token_id, adapter_size, t5.lm_head)
        if adapter_size is None:
            self.pretrained = (t5,)
        is_scaled: bool = getattr(t5.config, "scale_decoder_outputs", t5.config.tie_word_embeddings)
        self.scale: float = t5.config.d_model**-0.5 if is_scaled else 1.0

    def pooled(self, batch: TextBatch) -> Tensor:
        _, token_ids, mask = batch.decoder_sides(self.eos_token_id)  # the text and its end
        return super().pooled(TextBatch(token_ids, mask))

    def hidden_states(self, batch: TextBatch, z: Tensor | None) -> Tensor:
        assert z is not None  # measured and trained with a latent
        inputs, _, _ = batch.decoder_sides(self.eos_token_id)
        first = torch.full_like(inputs[:, :1], self.t5.config.decoder_start_token_id)
        return self.decoded(torch.cat([first, inputs[:, 1:]], 1), z) * self.scale


def load_t5_vae(checkpoint: Checkpoint, latent_size: int, adapter_size: int | None) -> CheckpointT5VAE:
    """A checkpoint's T5 with random layers around z.

    Raises:
        ConfigError: The checkpoint cannot be read, or lacks weights, such as those of its decoder.
    """
    t5 = checkpoint.load("T5ForConditionalGeneration")
    if t5.config.decoder_start_token_id is None:
        t5.config.decoder_start_token_id = t5.config.pad_token_id
    return CheckpointT5VAE(t5, latent_size, adapter_size)
