"""The rows of Table 3 and Figure 1 that begin from a BERT of transformers, instead of the backbone in its place."""

from adavae.model.training.reproduction.checkpoint import Checkpoint
from adavae.model.training.reproduction.labelled_corpus import LabelledCorpus
from adavae.model.training.reproduction.labelled_rows import Beginning, narrowed
from adavae.model.training.reproduction.rows import Given
from adavae.model.training.reproduction.systems.bert import load_bert


def bert_features(given: Given, corpus: LabelledCorpus, checkpoint: Checkpoint) -> Beginning:
    """The checkpoint as it is; only the head learns."""
    model = load_bert(checkpoint, len(corpus.labels)).to(given.device)
    return Beginning(model, model.original_parameters, weights_of(checkpoint), is_counted=False)


def bert_tuned(given: Given, corpus: LabelledCorpus, checkpoint: Checkpoint, adapter_size: int | None) -> Beginning:
    """Adapters of the paper's size for a width of 768, or, with None, every weight."""
    size = None if adapter_size is None else narrowed(adapter_size, checkpoint.config().hidden_size)
    model = load_bert(checkpoint, len(corpus.labels), size)
    if adapter_size is None:
        model.tune()
    share = 100.0 if adapter_size is None else None
    return Beginning(model.to(given.device), model.original_parameters, weights_of(checkpoint), model.pretrained, share)


def weights_of(checkpoint: Checkpoint) -> str:
    """Where the initial weights come from, in words."""
    return f"of {checkpoint.identity}"
