"""Optimus (Li et al. 2020): an encoder and a decoder of their own, all weights trained, z by memory and by embedding.

Li et al. take BERT for the encoder. Here both begin as the same backbone, the encoder without its causal mask, so that
the table compares the ways of training and not the checkpoints.
"""

import copy

import torch
from torch import Tensor, nn

from adavae.model.backbone import Backbone, causal_mask
from adavae.model.kv_cache import MemoryStore
from adavae.model.parts.posterior import Posterior
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.systems.gpt2 import positions_of
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel

_INITIAL = 0.02  # deviation of the weights that begin random, as in BERT and in Li et al.'s code


class Optimus(SentenceModel):
    """Two transformers and a Gaussian z between them."""

    def __init__(self, backbone: Backbone, latent_size: int) -> None:
        super().__init__()
        config = backbone.config
        self.eos_token_id = config.eos_token_id
        self.encoder = copy.deepcopy(backbone).requires_grad_(True)
        self.decoder = copy.deepcopy(backbone).requires_grad_(True)
        self.pooler = nn.Linear(config.n_embd, config.n_embd)
        self.to_posterior = nn.Linear(config.n_embd, 2 * latent_size, bias=False)
        self.memory = nn.Linear(latent_size, config.n_layer * config.n_embd, bias=False)
        self.embedding = nn.Linear(latent_size, config.n_embd, bias=False)
        for layer in (self.pooler, self.to_posterior, self.memory, self.embedding):
            nn.init.normal_(layer.weight, std=_INITIAL)
        nn.init.zeros_(self.pooler.bias)

    @property
    def pretrained(self) -> tuple[nn.Module, ...]:
        """What begins as the backbone."""
        return self.encoder, self.decoder

    def posterior(self, batch: TextBatch) -> Posterior:
        mask = batch.attention_mask
        hidden = self.encoder.hidden_states(batch.token_ids, None, mask[:, None, None, :])
        is_token = mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * is_token).sum(1) / is_token.sum(1)
        mu, logvar = self.to_posterior(torch.tanh(self.pooler(mean))).chunk(2, dim=-1)
        return Posterior.bounded(mu, logvar)

    def hidden_states(self, batch: TextBatch, z: Tensor | None) -> Tensor:
        assert z is not None  # measured and trained with a latent
        decoder = self.decoder
        inputs, _, _ = batch.decoder_sides(self.eos_token_id)
        B, T = inputs.shape
        H, D = decoder.config.n_head, decoder.config.head_size
        memory = self.memory(z).view(B, decoder.config.n_layer, 1, H, D).permute(1, 0, 3, 2, 4)  # (L, B, H, 1, D)
        x = decoder.embed(inputs, positions_of(inputs)) + self.embedding(z).unsqueeze(1)
        mask = causal_mask(T, 1, device=inputs.device)
        for layer, block in enumerate(decoder.blocks):
            x = block(x, mask, MemoryStore(memory[layer], memory[layer]), None)
        hidden: Tensor = decoder.ln_f(x)
        return hidden

    @property
    def output(self) -> Tensor:
        return self.decoder.lm_head.weight
