"""Hidden tokens: which are hidden, where they are predicted, and what a window read both ways sees."""

import torch
from torch.nn import functional as F

from adavae.model.training.language_model import both_ways_loss, next_token_loss, separate_texts
from adavae.model.training.masked_prediction import HiddenTokens
from adavae.model.training.pretrain_start import fresh_backbone
from tests.unit.model.training.tiny_pretraining import SHAPE

EOS = 0
WINDOWS = torch.randint(1, 300, (4, 33), generator=torch.Generator().manual_seed(1))
WINDOWS[:, ::7] = EOS  # texts of six tokens


def test_tokens_are_hidden_in_the_first_windows_alone_and_predicted_one_place_before() -> None:
    hidden = HiddenTokens.draw(WINDOWS, 2, 0.25, EOS, (0, 3))
    original = WINDOWS[:, :-1]
    assert torch.equal(hidden.inputs[2:], original[2:])
    at_their_place = original.flatten()[hidden.places + 1]
    assert torch.equal(at_their_place, hidden.targets)
    assert (hidden.inputs.flatten()[hidden.places + 1] == EOS).all()
    num_changed = int((hidden.inputs != original).sum())
    assert num_changed == int(hidden.is_counted.sum()) > 0
    assert len(hidden.places) == 2 * round(0.25 * 31)


def test_what_is_hidden_depends_on_seed_and_step_alone() -> None:
    one, again, other = (HiddenTokens.draw(WINDOWS, 2, 0.25, EOS, (0, step)) for step in (3, 3, 4))
    assert torch.equal(one.inputs, again.inputs)
    assert not torch.equal(one.inputs, other.inputs)


def test_the_start_of_a_text_is_never_counted_and_the_weights_sum_to_one() -> None:
    hidden = HiddenTokens.draw(WINDOWS, 1, 0.9, EOS, (0, 0))
    predictions = hidden.predictions(WINDOWS)
    assert (~hidden.is_counted).any()
    num_hidden = len(hidden.places)
    assert (predictions.weights[:num_hidden][~hidden.is_counted] == 0).all()
    torch.testing.assert_close(predictions.weights.sum(), torch.tensor(1.0))
    torch.testing.assert_close(predictions.weights[:num_hidden].sum(), torch.tensor(0.25))


def test_a_window_read_both_ways_is_read_as_the_encoder_reads_its_texts() -> None:
    """Every text's hidden states are those of the text alone, from position 0, everything in sight."""
    backbone = fresh_backbone(SHAPE, seed=1)
    positions, mask = separate_texts(WINDOWS[:1, :-1], EOS, 1)
    together = backbone.hidden_states(WINDOWS[:1, :-1], positions, mask)
    text = WINDOWS[:1, 8:14]
    everywhere = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    alone = backbone.hidden_states(text, None, everywhere)
    torch.testing.assert_close(together[:, 8:14], alone)


def test_other_windows_are_read_causally_as_ever() -> None:
    mixed, causal = separate_texts(WINDOWS[:, :-1], EOS, 2), separate_texts(WINDOWS[:, :-1], EOS)
    assert torch.equal(mixed[0][2:], causal[0][2:]) and torch.equal(mixed[1][2:], causal[1][2:])


def test_the_loss_is_the_weighted_mean_of_both_kinds() -> None:
    backbone = fresh_backbone(SHAPE, seed=1)
    hidden = HiddenTokens.draw(WINDOWS, 1, 0.25, EOS, (0, 0))
    loss = both_ways_loss(backbone, WINDOWS, hidden, is_separate=True)
    next_tokens = next_token_loss(backbone, WINDOWS[1:], is_separate=True)
    positions, mask = separate_texts(WINDOWS[:1, :-1], EOS, 1)
    states = backbone.hidden_states(hidden.inputs[:1], positions, mask)[0]
    places = hidden.places[hidden.is_counted]
    masked = F.cross_entropy(backbone.logits(states[places]), hidden.targets[hidden.is_counted])
    torch.testing.assert_close(loss, 0.75 * next_tokens + 0.25 * masked)
