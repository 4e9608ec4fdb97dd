"""LSTM-LM, and the LSTM-VAE that five rows of Table 2 train in five ways (Bowman et al. 2016; He et al. 2019)."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adavae.model.parts.posterior import Posterior
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel, UnconditionalModel

_INITIAL = 0.01  # He et al. 2019 draw every weight from U(-0.01, 0.01), and embeddings from U(-0.1, 0.1)
_INITIAL_EMBEDDING = 0.1


class LSTMLanguageModel(UnconditionalModel):
    """LSTM-LM: embeddings, one LSTM, an output layer."""

    def __init__(self, vocab_size: int, embedding_size: int, hidden_size: int, eos_token_id: int) -> None:
        super().__init__()
        self.eos_token_id = eos_token_id
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        self.lstm = nn.LSTM(embedding_size, hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, vocab_size, bias=False)
        initialise(self)

    def hidden_states(self, batch: TextBatch, z: Tensor | None) -> Tensor:
        del z  # there is none
        inputs, _, _ = batch.decoder_sides(self.eos_token_id)
        hidden: Tensor = self.lstm(self.embedding(inputs))[0]
        return hidden

    @property
    def output(self) -> Tensor:
        return self.head.weight


class LSTMEncoder(nn.Module):
    """The last state of an LSTM over the text, and two linear layers to q(z|x)."""

    def __init__(self, vocab_size: int, embedding_size: int, hidden_size: int, latent_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        self.lstm = nn.LSTM(embedding_size, hidden_size, batch_first=True)
        self.posterior = nn.Linear(hidden_size, 2 * latent_size, bias=False)

    def forward(self, batch: TextBatch) -> Posterior:
        """q(z|x) over (B, Z)."""
        lengths = batch.attention_mask.sum(1)
        hidden, _ = self.lstm(self.embedding(batch.token_ids))  # (B, T, H); padding comes after the last token
        last = hidden[torch.arange(len(batch), device=hidden.device), lengths - 1]
        mu, logvar = self.posterior(last).chunk(2, dim=-1)
        return Posterior.bounded(mu, logvar)


class LSTMDecoder(nn.Module):
    """An LSTM that begins from z and reads it beside every token."""

    def __init__(self, vocab_size: int, embedding_size: int, hidden_size: int, latent_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        self.state = nn.Linear(latent_size, hidden_size, bias=False)
        self.lstm = nn.LSTM(embedding_size + latent_size, hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, vocab_size, bias=False)

    def forward(self, inputs: Tensor, z: Tensor) -> Tensor:
        """inputs, (B, T + 1), and z, (B, Z), to hidden states, (B, T + 1, H)."""
        embedded = self.embedding(inputs)
        beside = z.unsqueeze(1).expand(-1, embedded.shape[1], -1)
        cell = self.state(z).unsqueeze(0)
        hidden: Tensor = self.lstm(torch.cat([embedded, beside], -1), (torch.tanh(cell), cell))[0]
        return hidden

    def written_out(self, inputs: Tensor, z: Tensor) -> Tensor:
        """As ``forward``, step by step: torch's own LSTM can be differentiated only once."""
        T, (of_input, of_hidden, bias, more_bias) = inputs.shape[1], self.lstm.all_weights[0]
        read = torch.cat([self.embedding(inputs), z.unsqueeze(1).expand(-1, T, -1)], -1)
        gates = F.linear(read, of_input, bias + more_bias)  # (B, T + 1, 4 H)
        cell = self.state(z)
        hidden, states = torch.tanh(cell), []
        for step in range(T):
            into, forget, new, out = (gates[:, step] + F.linear(hidden, of_hidden)).chunk(4, -1)
            cell = forget.sigmoid() * cell + into.sigmoid() * new.tanh()
            hidden = out.sigmoid() * cell.tanh()
            states.append(hidden)
        return torch.stack(states, 1)


class LSTMVAE(SentenceModel):
    """An LSTM encoder and an LSTM decoder with a Gaussian z between them."""

    def __init__(
        self, vocab_size: int, embedding_size: int, hidden_size: int, latent_size: int, eos_token_id: int
    ) -> None:
        super().__init__()
        self.eos_token_id = eos_token_id
        self.encoder = LSTMEncoder(vocab_size, embedding_size, hidden_size, latent_size)
        self.decoder = LSTMDecoder(vocab_size, embedding_size, hidden_size, latent_size)
        initialise(self)

    def posterior(self, batch: TextBatch) -> Posterior:
        return cast(Posterior, self.encoder(batch))

    def hidden_states(self, batch: TextBatch, z: Tensor | None) -> Tensor:
        inputs, _, _ = batch.decoder_sides(self.eos_token_id)
        return cast(Tensor, self.decoder(inputs, z))

    @property
    def output(self) -> Tensor:
        return self.decoder.head.weight


def initialise(module: nn.Module) -> None:
    """He et al.'s initial weights, from torch's generator."""
    for part in module.modules():
        if isinstance(part, nn.Embedding):
            nn.init.uniform_(part.weight, -_INITIAL_EMBEDDING, _INITIAL_EMBEDDING)
        elif isinstance(part, nn.LSTM | nn.Linear):
            for parameter in part.parameters():
                nn.init.uniform_(parameter, -_INITIAL, _INITIAL)
