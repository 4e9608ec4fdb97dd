"""AdaVAE behind the one measure: a finished training run, of adapters or of every weight."""

from typing import cast

from torch import Tensor

from adavae.model.adavae import AdaVAE
from adavae.model.parts.posterior import Posterior
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel


class TrainedAdaVAE(SentenceModel):
    """Slot 0 of a trained model; ``vae`` is the one of ``loop.TrainingRun``."""

    def __init__(self, vae: AdaVAE) -> None:
        super().__init__()
        self.vae, self.eos_token_id = vae, vae.eos_token_id

    def posterior(self, batch: TextBatch) -> Posterior:
        return self.vae.encode(batch.token_ids, batch.attention_mask, AdapterIndex.uniform(len(batch)))

    def hidden_states(self, batch: TextBatch, z: Tensor | None) -> Tensor:
        inputs, _, _ = batch.decoder_sides(self.eos_token_id)
        return self.vae.hidden_states(inputs, cast(Tensor, z), AdapterIndex.uniform(len(batch)))

    @property
    def output(self) -> Tensor:
        return self.vae.backbone.lm_head.weight
