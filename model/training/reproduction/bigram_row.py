"""A bigram of the tokens that every row reads: what a system from random weights has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from adavae.model.training import measures
from adavae.model.training.reproduction.corpus import Splits, TestTexts
from adavae.model.training.reproduction.measuring import Figures, perplexity_rows
from adavae.model.training.reproduction.rows import Given, Outcome
from adavae.model.training.reproduction.scale import AUTHORS_CUT, Scale

NAME = "Bigram"
_DISCOUNT = 0.75  # the usual one where none is estimated


class Bigram:
    """Interpolated Kneser-Ney over tokens: p(w|h) = max(c(hw) - D, 0) / c(h) + D n(h) / c(h) p(w).

    n(h) is the number of different tokens behind h, and p(w) the same over the number of different tokens in front of
    w, down to a uniform distribution. End-of-text begins and ends every text.
    """

    def __init__(self, rows: Sequence[Sequence[int]], vocab_size: int, eos_token_id: int) -> None:
        self.vocab_size, self.eos_token_id = vocab_size, eos_token_id
        history, word = self._pairs(rows)
        self.keys, counts = torch.unique(history * vocab_size + word, return_counts=True)  # (G,) each
        self.share = (counts - _DISCOUNT).clamp_min(0.0).double()
        heads, tails = self.keys // vocab_size, self.keys % vocab_size
        self.total = torch.zeros(vocab_size, dtype=torch.float64).index_add_(0, heads, counts.double())
        self.kinds = torch.bincount(heads, minlength=vocab_size).double()
        before = torch.bincount(tails, minlength=vocab_size).double()
        left = _DISCOUNT * (before > 0).sum() / before.sum()
        self.unigram = (before - _DISCOUNT).clamp_min(0.0) / before.sum() + left / vocab_size

    def nats(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """-log p of each text, its end included, (N,), float64."""
        history, word = self._pairs(rows)
        wanted = history * self.vocab_size + word
        place = torch.searchsorted(self.keys, wanted).clamp_max(len(self.keys) - 1)
        share = torch.where(self.keys[place] == wanted, self.share[place], 0.0)
        total = self.total[history]
        seen = (share + _DISCOUNT * self.kinds[history] * self.unigram[word]) / total.clamp_min(1.0)
        probability = torch.where(total > 0, seen, self.unigram[word])
        text = torch.repeat_interleave(torch.tensor([len(row) + 1 for row in rows]))
        return torch.zeros(len(rows), dtype=torch.float64).index_add_(0, text, -probability.log())

    def _pairs(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Every token, ends included, and the one before it, (M,) each."""
        end = self.eos_token_id
        history = torch.tensor([token for row in rows for token in (end, *row)])
        return history, torch.tensor([token for row in rows for token in (*row, end)])


@dataclass(frozen=True, slots=True)
class BigramRow:
    """The row of Table 2; it learns from the texts of every update that the others have."""

    name: str = NAME
    procedures: int = 1
    shared: str = ""
    checkpoint: None = None

    def has_texts(self, folder: Path) -> bool:
        del folder  # named after no number
        return True

    def check(self, folder: Path, scale: Scale, seed: int) -> None:
        Splits.read(folder, scale, seed)

    def run(self, given: Given) -> Outcome:
        corpus, scale = given.data.corpus, given.scale
        batches = corpus.rows_by_update(scale, given.seed)
        read = {row for _ in range(scale.steps) for row in next(batches)}
        texts = [list(corpus.training.token_ids[row]) for row in sorted(read)]
        bigram = Bigram(texts, given.pretrained.backbone.config.vocab_size, corpus.tokenizer.eos_token_id)
        figures, figures_cut = (
            _figures(
                bigram,
                TestTexts.of(corpus.test, corpus.tokenizer, min(most, scale.most_tokens)),
                scale.perplexity_texts,
            )
            for most in (scale.most_tokens, AUTHORS_CUT)
        )
        return Outcome(
            figures=figures.to_dict() | {"reconstruction_began": figures.neg_elbo},
            figures_cut=figures_cut.to_dict(),
            trained_parameters=len(bigram.keys),
            share_percent=None,
            weights="none",
            texts=corpus.training.digest,
        )


def _figures(bigram: Bigram, texts: TestTexts, num_ppl_texts: int) -> Figures:
    nats, rows = bigram.nats(texts.token_ids), perplexity_rows(len(texts.token_ids), num_ppl_texts)
    return Figures(
        ppl_word=measures.perplexity(nats[rows], texts.num_words[rows]),
        ppl_token=measures.perplexity(nats[rows], texts.num_tokens[rows]),
        neg_elbo=float(nats.mean()),
        reconstruction=float(nats.mean()),
        mi=None,
        mi_gaussian=None,
        au=None,
        kl=None,
        num_texts=len(nats),
        num_mi_texts=None,
        num_ppl_texts=len(rows),
        num_cut=texts.num_cut,
    )
