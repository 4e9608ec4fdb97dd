"""What a request gets that sets nothing, chosen by measurement (tests/bench/RESULTS.md). A leaf without torch.

Every way in (HTTP, client, command line, library) and every measure reads these, and no other file has its own.
"""

from adavae.model.latent.steering import Settled

WALK = Settled(refine=0.0, truncation=0.0, candidates=1)
ANALOGY = Settled(refine=0.0, truncation=1.0, candidates=1)
DRAW = Settled(refine=0.0, truncation=1.0, candidates=1)
DECODE = Settled(refine=0.0, truncation=1.0, candidates=1)
TRAVERSE = Settled(refine=0.0, truncation=1.0, candidates=1)
VARIATIONS = Settled(refine=0.0, truncation=1.0, candidates=1)

SCALE = 1.0
"""Of an analogy's difference."""

GUIDANCE = 1.0
"""Of a label's draw: above 1 leads further towards it."""

NUM_VARIATIONS = 5
DISTANCE = 1.0
"""Of variations from their text, in widths of the posterior."""

NUM_STEPS = 5
DIMENSION_RANGE = (-2.0, 2.0)
"""Of a walk along one dimension, in its standard deviations."""

DIFFERENCE_RANGE = (-1.0, 1.0)
"""Of a walk along a difference of labels or texts, in whole differences."""

CANDIDATE_NOISE = 1.0
"""Around the wished z, in widths of the posterior, for all candidates but the first."""

FLUENCY_WEIGHT = 1.0
"""Of a candidate's nats per token beside its mean squared distance from the wished z, in units of the posterior."""
