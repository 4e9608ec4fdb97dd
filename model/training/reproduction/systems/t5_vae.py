"""T5 VAE (Park and Lee 2021): the largest of the encoder's states becomes z, and the decoder looks at one vector of z.

Needs transformers. The weights are random ones of a small T5 that reads the backbone's tokens, where Park and Lee tune
t5-base; ``t5_checkpoint`` begins from such a checkpoint. With ``adapter_size``, adapters beside the feed-forward layers
and the parts around z are all that trains.
"""

from typing import Any

from torch import Tensor, nn

from adavae.model.errors import ConfigError
from adavae.model.parts.posterior import Posterior
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.systems.branch import AdapterBranch
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel


class T5VAE(SentenceModel):
    """An encoder-decoder transformer and a Gaussian z between its halves.

    Attributes:
        original_parameters: Of the T5, its output layer included.
        pretrained: What may train and does not begin as random weights.
    """

    def __init__(
        self,
        t5: Any,
        latent_size: int,
        eos_token_id: int,
        adapter_size: int | None,
        head: nn.Linear | None = None,
    ) -> None:
        """From a T5 of transformers, which is changed.

        Args:
            t5: With or without its output layer.
            latent_size: Z.
            eos_token_id: Ends a text.
            adapter_size: A; None for no adapters.
            head: The output layer of ``t5``; a random one if left out.
        """
        super().__init__()
        width, vocab_size = t5.config.d_model, t5.config.vocab_size
        self.eos_token_id, self.t5 = eos_token_id, t5
        random_head = width * vocab_size if head is None else 0
        self.original_parameters = sum(each.numel() for each in t5.parameters()) + random_head
        self.pretrained: tuple[nn.Module, ...] = ()
        if adapter_size is not None:
            self.t5.requires_grad_(False)
            for stack in (self.t5.encoder, self.t5.decoder):
                for block in stack.block:
                    block.layer[-1] = _WithAdapter(block.layer[-1], width, adapter_size)
        self.to_posterior = nn.Linear(width, 2 * latent_size)
        self.from_latent = nn.Linear(latent_size, width)
        self.head = _random_head(width, vocab_size) if head is None else head
        self.head.requires_grad_(adapter_size is None)

    @property
    def decoder_side(self) -> tuple[nn.Module, ...]:
        """What follows z, and the token embeddings, which T5's encoder has in common with its decoder."""
        return self.from_latent, self.t5.decoder, self.head

    def pooled(self, batch: TextBatch) -> Tensor:
        """The largest state of a text's tokens in each dimension, (B, C)."""
        mask = batch.attention_mask
        hidden: Tensor = self.t5.encoder(input_ids=batch.token_ids, attention_mask=mask.long()).last_hidden_state
        return hidden.masked_fill(~mask.unsqueeze(-1), float("-inf")).amax(1)

    def posterior(self, batch: TextBatch) -> Posterior:
        mu, logvar = self.to_posterior(self.pooled(batch)).chunk(2, dim=-1)
        return Posterior.bounded(mu, logvar)

    def hidden_states(self, batch: TextBatch, z: Tensor | None) -> Tensor:
        assert z is not None  # measured and trained with a latent
        inputs, _, _ = batch.decoder_sides(self.eos_token_id)
        return self.decoded(inputs, z)

    def decoded(self, inputs: Tensor, z: Tensor) -> Tensor:
        """The decoder's last states over ``inputs``, (B, T), beside a z of each, (B, Z): (B, T, C)."""
        memory = self.from_latent(z).unsqueeze(1)  # (B, 1, C)
        hidden: Tensor = self.t5.decoder(
            input_ids=inputs, encoder_hidden_states=memory, use_cache=False
        ).last_hidden_state
        return hidden

    @property
    def output(self) -> Tensor:
        return self.head.weight


class _WithAdapter(nn.Module):
    """A feed-forward layer with a parallel adapter that starts at zero."""

    def __init__(self, inner: nn.Module, width: int, adapter_size: int) -> None:
        super().__init__()
        self.inner, self.branch = inner, AdapterBranch(width, adapter_size)

    def forward(self, hidden: Tensor) -> Tensor:
        output: Tensor = self.inner(hidden) + self.branch(hidden)
        return output


def _random_head(width: int, vocab_size: int) -> nn.Linear:
    head = nn.Linear(width, vocab_size, bias=False)
    nn.init.normal_(head.weight, std=0.02)
    return head


def random_t5(vocab_size: int, width: int, num_layers: int, eos_token_id: int) -> Any:
    """A T5 of random weights without an output layer; raises ConfigError where transformers is missing."""
    try:
        from transformers import T5Config, T5Model
    except ImportError as exc:
        raise ConfigError(
            "system", "T5 VAE", "needs transformers: pip install 'adavae[dev]', or leave the row out"
        ) from exc
    num_heads = max(1, width // 64)
    return T5Model(
        T5Config(
            vocab_size=vocab_size,
            d_model=width,
            d_kv=width // num_heads,
            d_ff=4 * width,
            num_layers=num_layers,
            num_heads=num_heads,
            pad_token_id=eos_token_id,
            eos_token_id=eos_token_id,
            dropout_rate=0.0,  # no other row has any
        )
    )
