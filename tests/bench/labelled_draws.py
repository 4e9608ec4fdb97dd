"""Whether draws with a label are of that label: ``python -m tests.bench.labelled_draws [SET...]``.

Two ways of drawing z: with the flow alone, from noise, and as it is served, where the flow takes over a draw from the
label's Gaussian. The set's own head says of which label the decoded texts are; nats a token are the bare backbone's.
"""

import argparse
import sys

import torch
from torch import Tensor

import adavae
from adavae.model.latent.flow import integrate
from adavae.model.latent.prior import DRAW_STEPS, LatentPrior

SETS = ("yelp", "sst2", "trec", "captions")


def from_noise(prior: LatentPrior, num: int, label: int) -> Tensor:
    """(num, Z): by the flow alone."""
    assert prior.network is not None
    noise = torch.randn(num, prior.latent_size, generator=torch.Generator().manual_seed(0))
    drawn = integrate(prior.network, noise, start=0.0, steps=DRAW_STEPS, label_ids=torch.full((num,), label))
    return prior.mean + prior.std * drawn


def measured(name: str, num: int) -> str:
    """A line of the table: both ways, the shares of each label and their mean, and nats."""
    loaded = adavae.load(name)
    prior = loaded.text_model.space_of(loaded.name).prior
    assert prior is not None
    cells = [name]
    for way in (from_noise, lambda prior, num, label: prior.draw(num, 0, label=label)):
        shares, nats = [], []
        for number, label in enumerate(loaded.labels):
            texts = [text.text for text in loaded.decode(way(prior, num, number), refine=0.0)]
            written = [text for text in texts if text]
            shares.append(sum(row.label == label for row in loaded.classify(written)) / len(texts))
            nats.append(float(loaded.score(written).mean()))
        mean, least = sum(shares) / len(shares), min(shares)
        cells.append(f"{mean:.2f} (least {least:.2f}), {sum(nats) / len(nats):.2f} nats")
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--num", type=int, default=100, help="Draws with each label.")
    options = parser.parse_args()
    sys.stdout.write("| set | the flow from noise | as served |\n|---|---|---|\n")
    for name in options.sets:
        sys.stdout.write(measured(name, options.num))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
