"""Which set is expected: what is understood, and what is not the set."""

from pathlib import Path

import pytest

from adavae.model.errors import WeightsCorrupted
from adavae.model.storage.manifest import read_manifest
from adavae.service.sharing.errors import SharingError
from adavae.service.sharing.pin import Pin
from tests.tiny_sets import publish

DIGEST, REFERENCE = "0123456789abcdef" * 4, "yelp@0123456789ab"


@pytest.mark.parametrize(
    ("text", "pin"),
    [
        (DIGEST, Pin(None, DIGEST)),
        (f"sha256:{DIGEST}", Pin(None, DIGEST)),
        (DIGEST.upper(), Pin(None, DIGEST)),
        (REFERENCE, Pin(REFERENCE, None)),
        (f"{REFERENCE}#{DIGEST}", Pin(REFERENCE, DIGEST)),
    ],
)
def test_a_pin_is_a_digest_a_version_or_both(text: str, pin: Pin) -> None:
    assert Pin.of(text) == pin


@pytest.mark.parametrize(
    "text", ["", "#", "yelp", "abc", DIGEST[1:], "yelp@1", f"{DIGEST}#{DIGEST}", "a@b@0123456789ab"]
)
def test_anything_else_pins_nothing_and_is_refused(text: str) -> None:
    with pytest.raises(SharingError, match="NAME@VERSION"):
        Pin.of(text)


def test_two_pins_are_one_unless_they_contradict_each_other() -> None:
    assert Pin.of(REFERENCE).and_also(Pin.of(DIGEST)) == Pin(REFERENCE, DIGEST)
    with pytest.raises(SharingError, match="give one of them"):
        Pin.of(DIGEST).and_also(Pin.of("f" * 64))


def test_another_set_than_expected_is_told_apart(tmp_path: Path) -> None:
    manifest = read_manifest(publish(tmp_path))
    Pin(manifest.reference, manifest.digest).check(manifest)
    Pin().check(manifest)
    for pin in (Pin(REFERENCE), Pin(None, DIGEST), Pin(manifest.reference, DIGEST)):
        with pytest.raises(WeightsCorrupted, match="expected is"):
            pin.check(manifest)
