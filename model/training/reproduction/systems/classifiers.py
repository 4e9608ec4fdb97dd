"""The systems of Table 3: an encoder whose features one linear layer turns into a label.

Only the encoder is used, as the paper's #params column has it: adapters of eight blocks, latent attention, both
posterior heads and the head are 2.88 % of an encoder of eight blocks at an adapter size of 128, and 7.79 % at 512. The
24,576 parameters between these and the paper's 2.90 and 7.82 % are as many as the layer norms of eight blocks have.
"""

import copy
from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn

from adavae.model.adavae import AdaVAE
from adavae.model.backbone import Backbone
from adavae.model.config import AdapterConfig, AdapterPlacement
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.bottleneck import LayerAdapters, RowAdapters
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.precision import fast_matrices
from adavae.model.training.reproduction.systems.gpt2 import positions_of
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel
from adavae.model.training.reproduction.systems.trained_adavae import TrainedAdaVAE

_TWO_A_BLOCK = (AdapterPlacement.SEQUENTIAL_ATTENTION, AdapterPlacement.PARALLEL_FFN)


class Classifier(nn.Module, ABC):
    """Features of a text, and a linear layer from them to one score per label.

    Attributes:
        head: That layer.
    """

    head: nn.Linear

    @abstractmethod
    def features(self, batch: TextBatch) -> Tensor:
        """(B, features), float32."""

    def logits(self, batch: TextBatch) -> Tensor:
        """(B, labels)."""
        return cast(Tensor, self.head(self.features(batch)))


class LatentClassifier(Classifier):
    """The features are mu of a system with a latent: AdaVAE or Optimus."""

    def __init__(self, model: SentenceModel, latent_size: int, num_labels: int) -> None:
        super().__init__()
        self.model, self.head = model, nn.Linear(latent_size, num_labels)

    def features(self, batch: TextBatch) -> Tensor:
        posterior = self.model.posterior(batch)
        assert posterior is not None  # made of systems with a latent alone
        return posterior.mu


class UnmaskedClassifier(Classifier):
    """The backbone without its causal mask, and the mean of its hidden states: what stands in for BERT here.

    With ``adapter_size`` two adapters a block and the blocks' layer norms train, as Houlsby et al. (2019) have it: the
    paper's 4.41 and 17.49 % are these and the head, over BERT-base (cased), its pooler counted (3.84 and 15.22 over
    GPT-2, which is larger). One adapter reads the attention's output, the other is beside the feed-forward layer.
    """

    def __init__(self, backbone: Backbone, num_labels: int, adapter_size: int | None = None) -> None:
        super().__init__()
        C = backbone.config.n_embd
        self.backbone = copy.deepcopy(backbone).requires_grad_(False)
        self.adapters = nn.ModuleList()
        if adapter_size is not None:
            self.adapters.extend(LayerAdapters(1, C, adapter_size, _TWO_A_BLOCK) for _ in backbone.blocks)
            for name, parameter in self.backbone.blocks.named_parameters():
                parameter.requires_grad_(".ln_" in name)
        self.head = nn.Linear(C, num_labels)

    def features(self, batch: TextBatch) -> Tensor:
        mask, index = batch.attention_mask, AdapterIndex.uniform(len(batch))
        x = self.backbone.embed(batch.token_ids, positions_of(batch.token_ids))
        for layer, block in enumerate(self.backbone.blocks):
            adapters = RowAdapters(self.adapters[layer], index, 1.0) if self.adapters else None  # type: ignore[arg-type]
            x = block(x, mask[:, None, None, :], None, adapters)
        is_token = mask.unsqueeze(-1).to(x.dtype)
        mean: Tensor = (self.backbone.ln_f(x) * is_token).sum(1) / is_token.sum(1)
        return mean.float()


class EncodedOnce(Classifier):
    """A classifier of which the head alone trains: each text is encoded when it is first read, and not again."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier, self.head = classifier, classifier.head
        self._of_text: dict[bytes, Tensor] = {}

    @torch.no_grad()
    def features(self, batch: TextBatch) -> Tensor:
        lengths = batch.lengths or tuple(batch.attention_mask.sum(1).tolist())
        token_ids = batch.token_ids.cpu().numpy()
        texts = [row[:length].tobytes() for row, length in zip(token_ids, lengths, strict=True)]
        new = [place for place, text in enumerate(texts) if text not in self._of_text]
        if new:
            encoded = self.classifier.features(TextBatch(batch.token_ids[new], batch.attention_mask[new]))
            self._of_text |= zip((texts[place] for place in new), encoded, strict=True)
        return torch.stack([self._of_text[text] for text in texts])


def adavae_encoder(backbone: Backbone, adapter: AdapterConfig, *, is_full_fine_tuning: bool) -> TrainedAdaVAE:
    """A fresh AdaVAE of which what leads to mu trains: adapters or, in a copy, every weight, and the latent parts."""
    device = backbone.wte.weight.device
    bank = AdapterBank.for_training(backbone.config, adapter).to(device).requires_grad_(False)
    for name, parameter in bank.named_parameters():
        is_adapter = name.startswith("encoder_adapters")
        is_latent = name.startswith(("latent_attention", "posterior.mu"))
        parameter.requires_grad_(is_latent or (is_adapter and not is_full_fine_tuning))
    if not is_full_fine_tuning:
        return TrainedAdaVAE(AdaVAE(backbone, bank))
    encoder = copy.deepcopy(backbone)
    for part in encoder_parts(encoder, adapter.encoder_layers):
        part.requires_grad_(True)
    return TrainedAdaVAE(AdaVAE(backbone, bank, encoder))


def encoder_parts(backbone: Backbone, num_layers: int) -> list[nn.Module]:
    """What an encoder of ``num_layers`` blocks uses of a backbone."""
    return [backbone.wte, backbone.wpe, *list(backbone.blocks)[:num_layers], backbone.ln_f]


@torch.no_grad()
def num_right(model: Classifier, batch: TextBatch) -> int:
    """How many texts of a labelled batch get their label."""
    assert batch.label_ids is not None  # a labelled batch
    with fast_matrices(batch.token_ids.device):
        return int((model.logits(batch).argmax(-1) == batch.label_ids).sum())
