"""What applies where a request says nothing, chosen by measurement (tests/bench/RESULTS.md). A leaf without torch.

Every way in (HTTP, client, command line, library) and every measure reads these, and no other file has its own.
"""

from adavae.model.latent.steering import Settled

WALK = Settled(refine=0.4, truncation=0.0, candidates=1)
ANALOGY = Settled(refine=0.2, truncation=1.0, candidates=1, focus=1.0)
DRAW = Settled(refine=0.0, truncation=0.95, candidates=1)
DECODE = Settled(refine=0.0, truncation=1.0, candidates=1)
TRAVERSE = Settled(refine=0.0, truncation=1.0, candidates=1)
VARIATIONS = Settled(refine=0.0, truncation=1.0, candidates=1)

SCALE = 1.0
"""Of an analogy: by how much its difference is multiplied."""

GUIDANCE = 1.0
"""Of drawing with a label: above 1 leads further towards it."""

NUM_VARIATIONS = 5
VARIATION_TRIES = 2
"""Points tried for each variation that is still missing."""

DISTANCE = 1.0
"""Of variations from their text, in widths of the posterior."""

NUM_STEPS = 5
DIMENSION_RANGE = (-2.0, 2.0)
"""Of a walk along one dimension, in its standard deviations."""

DIFFERENCE_RANGE = (-1.0, 1.0)
"""Of a walk along a difference of labels or texts, in whole differences."""

CANDIDATE_NOISE = 1.0
"""Around the z that was asked for, in widths of the posterior, for all candidates but the first."""

FLUENCY_WEIGHT = 1.0
"""Of a candidate's nats per token beside its mean squared distance from that z, in units of the posterior."""

WALK_ALTERNATIVES = 4
"""Texts tried for a point of a walk that would repeat a sentence of it."""

WALK_NOISE = 0.5
"""Where they are decoded: around the point, in widths of the posterior; in each further round by as much more."""

WALK_ROUNDS = 3
"""Rounds of trying, for the points that still repeat."""

LABEL_GAIN = 2.4
"""A change of label, in distances between the labels' means: greedy decoding crosses over well beyond them."""

LABEL_GAINS = (1.2, 1.6, 2.4, 3.2)
"""Where a request leaves the choice: all are tried for each text; the nearest that changes the label is taken."""

LABEL_ALTERNATIVES = 2
"""Points tried at each of these gains: the one on the way, and others around it, as far away as those of a walk."""

LABEL_SIDE = 0.2
"""How far across a text must be for that, from 0 between the labels' means to 0.5 at the mean of the label wanted."""

LEAST_LABEL_SHARE = 0.25
"""Of the distance between two labels' means, that a difference must cross to count as a change of label."""
