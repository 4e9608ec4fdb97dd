"""Names that nobody knows: the one that was meant, or all there are."""

from adavae.model.spelling import closest, did_you_mean, unknown_field

KNOWN = ["steps", "text", "adapter"]


def test_a_name_that_is_close_is_suggested() -> None:
    assert did_you_mean("step", KNOWN, "fields") == "did you mean steps?"
    assert did_you_mean("adaptor", KNOWN, "settings", as_shown=str.upper) == "did you mean ADAPTER?"


def test_a_name_of_any_length_is_answered_at_once() -> None:
    assert closest("step", KNOWN) == "steps"
    assert closest("step" * 100_000, KNOWN) is None


def test_without_a_close_name_all_are_named() -> None:
    assert did_you_mean("xyz", KNOWN, "fields") == "the fields are steps, text, adapter"


def test_the_first_unknown_field_is_named_and_shortened() -> None:
    assert unknown_field(["text", "step", "other"], KNOWN) == ("step", "unknown field: did you mean steps?")
    assert unknown_field(["text"], KNOWN) is None
    named = unknown_field(["y" * 1000], KNOWN)
    assert named is not None and named[0] == "y" * 100


def test_a_name_that_utf_8_cannot_hold_can_be_shown() -> None:
    named = unknown_field(["\ud800"], KNOWN)
    assert named is not None and named[0].encode() == b"?"
