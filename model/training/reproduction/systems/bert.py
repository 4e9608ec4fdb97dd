"""BERT of a checkpoint (or RoBERTa, or DistilBERT) in Table 3 and Figure 1; needs transformers.

Two adapters a block, as Houlsby et al. (2019) have it: what the attention projects and what the feed-forward layer
projects goes through one before it is added to the block's input, ``y + W_up relu(W_down y)``; the blocks' layer norms
train too. Over BERT-base (cased, its pooler counted) these and the head are the paper's 4.41 and 17.49 %.
"""

from typing import Any

from torch import Tensor, nn

from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.checkpoint import Checkpoint
from adavae.model.training.reproduction.systems.branch import AdapterBranch
from adavae.model.training.reproduction.systems.classifiers import Classifier

_BERT = ("encoder.layer", "attention.output.dense", "output.dense")
_PLACES = {"bert": _BERT, "roberta": _BERT, "distilbert": ("transformer.layer", "attention.out_lin", "ffn.lin2")}
"""Of each kind of encoder the blocks, and the two layers of a block behind which adapters stand."""

KINDS = frozenset(_PLACES)
"""Models that a checkpoint may be one of."""


class BertClassifier(Classifier):
    """The feature is the last state of [CLS], which one linear layer turns into scores: the pooler is left out.

    What trains is the head, and with ``adapter_size`` the adapters and layer norms; ``tune`` adds every weight.

    Attributes:
        original_parameters: Of the checkpoint's encoder, its pooler included.
        pretrained: What may train and does not begin as random weights.
    """

    def __init__(
        self, encoder: Any, num_labels: int, sep_token_id: int | None, adapter_size: int | None = None
    ) -> None:
        """From a model of transformers, which is changed.

        Args:
            encoder: Of one of ``KINDS``.
            num_labels: Of the head.
            sep_token_id: Ends the first text of a pair.
            adapter_size: A; None for no adapters.
        """
        super().__init__()
        width: int = encoder.config.hidden_size
        self.encoder, self.sep_token_id = encoder.requires_grad_(False), sep_token_id
        self.original_parameters = sum(each.numel() for each in encoder.parameters())
        self.pretrained: tuple[nn.Module, ...] = ()
        if adapter_size is not None:
            self.pretrained = _add_adapters(encoder, width, adapter_size)
        self.head = nn.Linear(width, num_labels)

    def tune(self) -> None:
        """Every weight trains that the feature depends on."""
        self.encoder.requires_grad_(True)
        if (pooler := getattr(self.encoder, "pooler", None)) is not None:
            pooler.requires_grad_(False)
        self.pretrained = (self.encoder,)

    def features(self, batch: TextBatch) -> Tensor:
        inputs = {"input_ids": batch.token_ids, "attention_mask": batch.attention_mask.long()}
        if getattr(self.encoder.config, "type_vocab_size", 1) > 1 and self.sep_token_id is not None:
            inputs["token_type_ids"] = segments(batch.token_ids, self.sep_token_id)
        hidden: Tensor = self.encoder(**inputs).last_hidden_state  # (B, T, C)
        return hidden[:, 0].float()


def load_bert(checkpoint: Checkpoint, num_labels: int, adapter_size: int | None = None) -> BertClassifier:
    """A checkpoint's encoder with a random head.

    Raises:
        ConfigError: The checkpoint cannot be read, lacks weights, or is a decoder.
    """
    encoder = checkpoint.load("AutoModel")
    if getattr(encoder.config, "is_decoder", False):
        raise checkpoint.refused("is a decoder, which sees no following tokens: name an encoder")
    return BertClassifier(encoder, num_labels, checkpoint.tokenizer().sep_token_id, adapter_size)


def segments(token_ids: Tensor, sep_token_id: int) -> Tensor:
    """0 for the first text and the token that ends it, 1 for what follows, (B, T), int64."""
    ends = (token_ids == sep_token_id).long()
    return (ends.cumsum(1) - ends).clamp(max=1)


def _add_adapters(encoder: Any, width: int, adapter_size: int) -> tuple[nn.Module, ...]:
    """Returns the blocks' layer norms, which train too."""
    blocks, *places = _PLACES[encoder.config.model_type]
    norms: list[nn.Module] = []
    for block in encoder.get_submodule(blocks):
        norms += [part for part in block.modules() if isinstance(part, nn.LayerNorm)]
        for place in places:
            parent, _, name = place.rpartition(".")
            owner = block.get_submodule(parent)
            setattr(owner, name, _Adapted(getattr(owner, name), width, adapter_size))
    for norm in norms:
        norm.requires_grad_(True)
    return tuple(norms)


class _Adapted(nn.Module):
    """A linear layer with an adapter behind it that starts at zero."""

    def __init__(self, inner: nn.Module, width: int, adapter_size: int) -> None:
        super().__init__()
        self.inner, self.branch = inner, AdapterBranch(width, adapter_size)

    def forward(self, hidden: Tensor) -> Tensor:
        projected: Tensor = self.inner(hidden)
        output: Tensor = projected + self.branch(projected)
        return output
