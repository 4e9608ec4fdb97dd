"""Measuring one adapter set on one dataset: every figure of the paper's Tables 1 to 3, and reconstruction and transfer.

``measures`` and ``transfer`` define the figures; this file runs the model for them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adavae.model.adavae import pad
from adavae.model.decoding.decoding import Decoding, check_seed
from adavae.model.errors import DatasetError, TrainingDiverged
from adavae.model.parts.posterior import Posterior
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.text_model import TextModel
from adavae.model.training import measures
from adavae.model.training.corpus import Dataset, drawn_rows
from adavae.model.training.latent_cases import LatentSpaceConfig
from adavae.model.training.latent_space import measure_latent_space
from adavae.model.training.micro_batches import micro_batches
from adavae.model.training.objective import TextBatch, reconstruction_nll
from adavae.model.training.operations import AsServed
from adavae.model.training.progress import OnStage, ignore_stage
from adavae.model.training.readers.columns import shown
from adavae.model.training.recognition import recognised
from adavae.model.training.texts_read import TextsRead
from adavae.model.training.transfer import AttributeJudge, measure_transfer, select_short

_ROWS, _TOKENS = 100, 8192  # at most, per forward pass


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """What to measure, and how precisely.

    Attributes:
        num_importance_samples: K of the importance-weighted likelihood (the paper's measure asks for at least 100); 0
            leaves the perplexity out.
        max_importance_rows: At most this many texts, drawn by the seed, for the perplexity.
        max_decoded: At most this many texts, drawn by the seed, are reconstructed for BLEU and exact match; 0 for none.
        max_decoded_tokens: Longest reconstruction.
        latent_space: How walks, draws, analogies and z itself are measured; None to leave them out.
        seed: Seed of every random draw.
    """

    num_importance_samples: int = 100
    max_importance_rows: int = 500
    max_decoded: int = 10_000
    max_decoded_tokens: int = 96
    latent_space: LatentSpaceConfig | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)


@dataclass(frozen=True, slots=True)
class _Micro:
    """One micro-batch and where its rows stand in the dataset."""

    rows: list[int]
    batch: TextBatch
    index: AdapterIndex


def evaluate(
    text_model: TextModel,
    name: str,
    dataset: Dataset,
    config: EvaluationConfig,
    on_progress: OnStage = ignore_stage,
    *,
    learned: Dataset | None = None,
    faster: TextModel | None = None,
) -> dict[str, Any]:
    """Every figure that applies to this adapter set and this dataset.

    Args:
        text_model: Has the set loaded.
        name: The adapter set.
        dataset: Texts, with labels for accuracy and macro-F1; texts longer than the context are cut and counted.
        config: What to measure.
        on_progress: Called with the stage, the number of texts done and their total.
        learned: The set's training texts, from which the judges of its latent space learn.
        faster: The same set in bfloat16, to take the importance samples; ``text_model`` takes them if left out.

    Returns:
        One JSON object of figures as ``measures`` defines them, without those that overflow.

    Raises:
        DatasetError: The set has a head that knows none of the dataset's labels.
        TrainingDiverged: The bound itself is not finite.
    """
    label_notes(text_model.config_of(name).labels, dataset)
    read = TextsRead.of(text_model, dataset.texts)
    micros = _micro_batches(text_model, name, read)
    posterior, nll = _encode_and_reconstruct(text_model, micros, len(dataset.texts), config, on_progress)
    kl = posterior.kl_to_prior().sum(-1)
    bound = {
        "neg_elbo": float((nll + kl).mean()),
        "reconstruction_nats": float(nll.mean()),
        "kl": float(kl.mean()),
    }
    _refuse_not_finite(bound, text_model.reference_of(name), dataset)
    figures: dict[str, Any] = {
        "adapter": text_model.reference_of(name),
        "data": dataset.source,
        "data_digest": dataset.digest,
        "rows": len(dataset.texts),
        "truncated": sum(read.is_truncated),
        **bound,
        "mi": float(measures.mutual_information(posterior.mu, posterior.logvar, _generator(config.seed))),
        "mi_ceiling": measures.mutual_information_ceiling(len(dataset.texts)),
        "mi_gaussian": measures.mutual_information_gaussian(posterior.mu, posterior.logvar),
        "au": int(measures.active_units(posterior.mu)),
        "latent_size": text_model.config_of(name).latent_size,
    }
    if config.num_importance_samples:
        sampler = text_model if faster is None else faster
        figures |= _perplexities(sampler, name, read, posterior, config, on_progress)
    if config.max_decoded:
        figures |= _reconstructions(text_model, name, dataset, posterior.mu, config, on_progress)
    if dataset.labels is not None and text_model.config_of(name).labels:
        figures |= _classification(text_model, name, posterior.mu, dataset.labels)
    if config.latent_space is not None:
        operations = AsServed(text_model, name)
        figures["latent_space"] = measure_latent_space(operations, dataset, learned, config.latent_space, on_progress)
    return measures.finite_figures(figures)


def _refuse_not_finite(bound: Mapping[str, float], reference: str, dataset: Dataset) -> None:
    wrong = [f"{name} is {value}" for name, value in bound.items() if not math.isfinite(value)]
    if wrong:
        raise TrainingDiverged(
            f"{reference} on {dataset.source}: {', '.join(wrong)}: train the set again with a lower learning rate"
        )


def label_notes(labels: Sequence[str], dataset: Dataset) -> tuple[str, ...]:
    """What a user should know of labels that the head does not tell apart: what it says of their texts counts as wrong.

    Args:
        labels: The head's; empty for a set without one.
        dataset: Texts, with labels or without.

    Raises:
        DatasetError: It knows none of them.
    """
    unknown = [name for name in dataset.label_names if name not in labels]
    if not labels or not unknown:
        return ()
    told = f"has labels that the set does not know, {shown(unknown)}; it tells {shown(labels)} apart"
    if len(unknown) == len(dataset.label_names):
        raise DatasetError(f"{dataset.source}: {told}: name them as the set does, or give the texts without labels")
    return (f"{told}: their texts count as wrong",)


@dataclass(frozen=True, slots=True)
class TransferCase:
    """What an attribute transfer is measured on, chosen and judged before any model is at hand.

    Attributes:
        pair: The fixed texts a and b.
        target_label: The label that the output should have.
        sources: The sentences c.
        judge: Says which label a text has.
        judge_accuracy: On the labelled texts that the sentences are from.
    """

    pair: tuple[str, str]
    target_label: str
    sources: Sequence[str]
    judge: AttributeJudge
    judge_accuracy: float

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        judge_data: Dataset,
        pair: tuple[str, str],
        *,
        source_label: str,
        target_label: str,
        limit: int = 500,
    ) -> "TransferCase":
        """Trains the judge and chooses the sentences.

        Args:
            dataset: Labelled texts; short ones of ``source_label`` are the sentences c.
            judge_data: What the independent judge learns from; disjoint from ``dataset``.
            pair: The fixed texts a and b.
            source_label: The label that c has.
            target_label: The label that the output should have.
            limit: Sentences at most.

        Raises:
            DatasetError: The data lack labels, or these labels, or the judge cannot learn from them.
        """
        for label in (source_label, target_label):
            if judge_data.labels is not None and label not in judge_data.labels:
                raise DatasetError(f"{judge_data.source}: has no label {label!r}: give one of {judge_data.label_names}")
        judge = AttributeJudge.fit(judge_data.texts, judge_data.labels or ())
        sources = select_short(dataset.texts, dataset.labels or (), source_label, judge=judge, limit=limit)
        return cls(pair, target_label, sources, judge, judge.accuracy_on(dataset.texts, dataset.labels or ()))


def evaluate_transfer(text_model: TextModel, name: str, case: TransferCase, *, scale: float = 1.0) -> dict[str, Any]:
    """Whether ``z_c + scale * (z_b - z_a)`` moves an attribute and keeps the sentence (method: analogy).

    Args:
        text_model: Has the set loaded.
        name: The adapter set.
        case: What to change, and who judges it.
        scale: s.

    Returns:
        Under ``transfer``: share that moved, share of words kept, the judge's accuracy, examples.
    """
    decoding = Decoding(max_tokens=min(48, text_model.max_text_tokens))
    mu_a, mu_b = text_model.encode(list(case.pair), name).mu
    mu = text_model.encode(case.sources, name).mu
    outputs = _decode_all(text_model, name, mu + scale * (mu_b - mu_a), decoding)
    report = measure_transfer(case.sources, outputs, case.judge, case.target_label)
    return {
        "transfer": {
            "a": case.pair[0],
            "b": case.pair[1],
            "scale": scale,
            "rows": report.num_rows,
            "direction": report.direction,
            "judge_accuracy": case.judge_accuracy,
            "moved": report.moved,
            "kept_words": report.kept_words,
            "examples": [list(example) for example in report.examples],
        }
    }


def _micro_batches(text_model: TextModel, name: str, read: TextsRead) -> list[_Micro]:
    """The texts in batches of similar length."""
    token_ids, micros = read.token_ids, []
    for group in micro_batches(range(len(token_ids)), [len(row) for row in token_ids], _TOKENS):
        for start in range(0, len(group), _ROWS):
            rows = group[start : start + _ROWS]
            ids, mask = pad([token_ids[row] for row in rows], text_model.tokenizer.eos_token_id, text_model.device)
            batch = TextBatch(ids, mask, lengths=tuple(len(token_ids[row]) for row in rows))
            micros.append(_Micro(rows, batch, text_model.index_of(name, len(rows))))
    return micros


@torch.inference_mode()
def _encode_and_reconstruct(
    text_model: TextModel,
    micros: Sequence[_Micro],
    num_rows: int,
    config: EvaluationConfig,
    on_progress: OnStage,
) -> tuple[Posterior, Tensor]:
    """Posterior of every text, (N, Z), and -log p(x|z) for one z ~ q(z|x) each, (N,)."""
    Z = text_model.vae.bank.config_of(micros[0].index.slots[0]).latent_size
    mu, logvar, nll = torch.empty(num_rows, Z), torch.empty(num_rows, Z), torch.empty(num_rows)
    generator = _generator(config.seed)
    for micro in _counted("encode", micros, num_rows, on_progress):
        posterior = text_model.vae.encode(micro.batch.token_ids, micro.batch.attention_mask, micro.index)
        narrow = Posterior(posterior.mu[:, :Z].float().cpu(), posterior.logvar[:, :Z].float().cpu())
        z = text_model.vae.widened(narrow.sample(generator))
        mu[micro.rows], logvar[micro.rows] = narrow.mu, narrow.logvar
        nll[micro.rows] = reconstruction_nll(text_model.vae, micro.batch, z, micro.index).cpu()
    return Posterior(mu, logvar), nll


def _perplexities(
    text_model: TextModel,
    name: str,
    read: TextsRead,
    posterior: Posterior,
    config: EvaluationConfig,
    on_progress: OnStage,
) -> dict[str, Any]:
    """Perplexity per word and per token of some of the texts; nothing where neither is finite."""
    chosen = drawn_rows(len(read.token_ids), config.max_importance_rows, config.seed)
    drawn, num_samples = read.rows(chosen), config.num_importance_samples
    of_drawn = Posterior(posterior.mu[chosen], posterior.logvar[chosen])
    nll = _importance_weighted(text_model, name, drawn, of_drawn, config, on_progress)
    perplexities = {
        measures.perplexity_name("word", num_samples): measures.perplexity(nll, drawn.num_words),
        measures.perplexity_name("token", num_samples): measures.perplexity(nll, drawn.num_tokens),
    }
    if not measures.finite_figures(perplexities):
        return {}
    return {
        **perplexities,
        "ppl_rows": len(chosen),
        "ppl_truncated": sum(drawn.is_truncated),
        "importance_samples": num_samples,
        "importance_dtype": str(text_model.vae.backbone.wte.weight.dtype).removeprefix("torch."),
    }


@torch.inference_mode()
def _importance_weighted(
    text_model: TextModel,
    name: str,
    read: TextsRead,
    posterior: Posterior,
    config: EvaluationConfig,
    on_progress: OnStage,
) -> Tensor:
    """-log p(x) of each text by K importance samples, (N,), nats; ``posterior`` is that of the texts."""
    micros = _micro_batches(text_model, name, read)
    weighted = torch.empty(len(read.token_ids))
    generator = _generator(config.seed + 1)
    for micro in _counted("importance samples", micros, len(weighted), on_progress):
        of_batch = Posterior(posterior.mu[micro.rows], posterior.logvar[micro.rows])
        terms: list[tuple[Tensor, Tensor, Tensor]] = []
        for _ in range(config.num_importance_samples):
            z = of_batch.sample(generator)
            nll = reconstruction_nll(text_model.vae, micro.batch, text_model.vae.widened(z), micro.index).cpu()
            prior = measures.log_normal(z, torch.zeros_like(z), torch.zeros_like(z))
            terms.append((-nll, prior, measures.log_normal(z, of_batch.mu, of_batch.logvar)))
        log_px, log_pz, log_qz = (torch.stack(term) for term in zip(*terms, strict=True))  # each (K, B)
        weighted[micro.rows] = measures.importance_weighted_nll(log_px, log_pz, log_qz)
    return weighted


def _reconstructions(
    text_model: TextModel,
    name: str,
    dataset: Dataset,
    mu: Tensor,
    config: EvaluationConfig,
    on_progress: OnStage,
) -> dict[str, Any]:
    """BLEU-4, exact match and recognition of greedy decode(mu(x)) against x."""
    chosen = drawn_rows(len(dataset.texts), config.max_decoded, config.seed)
    references = [dataset.texts[row] for row in chosen]
    longest = min(config.max_decoded_tokens, text_model.max_text_tokens)
    total = len(references)
    outputs = _decode_all(text_model, name, mu[chosen], Decoding(max_tokens=longest), on_progress)
    figures = {
        "bleu4": measures.bleu4(outputs, references),
        "exact_match": measures.exact_match(outputs, references),
        "distinct_outputs": len(set(outputs)),
        "decoded_rows": total,
    }
    share = recognised(outputs, references)
    return figures if share is None else figures | {"recognised": share}


def _decode_all(
    text_model: TextModel,
    name: str,
    z: Tensor,
    decoding: Decoding,
    on_progress: OnStage = ignore_stage,
) -> list[str]:
    texts: list[str] = []
    for start in range(0, len(z), _ROWS):
        texts += [decoded.text for decoded in text_model.decode(z[start : start + _ROWS], name, decoding)]
        on_progress("decode", len(texts), len(z))
    return texts


def _classification(text_model: TextModel, name: str, mu: Tensor, gold: Sequence[str]) -> dict[str, Any]:
    labels = text_model.config_of(name).labels
    predicted = [verdict.label for verdict in text_model.classify_latents(mu, name)]
    return {
        "accuracy": measures.accuracy(predicted, gold),
        "macro_f1": measures.macro_f1(predicted, gold, sorted({*labels, *gold})),
    }


def _counted(stage: str, micros: Sequence[_Micro], total: int, on_progress: OnStage) -> Iterator[_Micro]:
    done = 0
    for micro in micros:
        yield micro
        done += len(micro.rows)
        on_progress(stage, done, total)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
