"""Adapter sets that stand on the disk and do harm: in their manifest, in their numbers, in place of their files."""

import json
import os
import random
import shutil
from collections.abc import Generator
from pathlib import Path

from adavae.model.storage.manifest import CARD, MANIFEST, PRIOR, TENSORS
from tests.bench.abuse import odd
from tests.bench.abuse.stage import KNOWN_TEXTS, Stage
from tests.bench.abuse.tries import Kind, Try
from tests.bench.abuse.verdict import complaint, first
from tests.integration.test_bad_neighbours import HARMS, Harm, forged, forged_config, replaced
from tests.tiny_home import publish_tiny
from tests.tiny_text import NAMED
from tests.unit.service.jobs.hostile import PLANTS

_DEFAULT = "prefixed"
_LATER = "2030-01-01T00:00:00+00:00"
_FIELDS = ("name", "config", "backbone_digest", "files", "shapes", "metrics", "training", "created_at", "fitted_prior")
_FIELDS_TOO = ("tokenizer_digest", "prior_shapes", "format_version", "more", "\ud800", "")
_OF_CONFIG = (
    "latent_size",
    "adapter_size",
    "adapter_scale",
    "labels",
    "encoder_layers",
    "prefix_length",
    "latent_heads",
)


def tries(stage: Stage, draw: random.Random) -> Generator[Try, None, None]:
    """One bad set after the other, as a new version of the default or under a name of its own."""
    for number in range(10**9):
        told, harm = _harm(draw)
        name = _DEFAULT if draw.random() < 0.4 else f"bad-{number}"
        seed = draw.randrange(10, 10**6)
        yield Try(f"{name}: {told}", lambda name=name, harm=harm, seed=seed: _suffer(stage, name, harm, seed))  # type: ignore[misc]


def _harm(draw: random.Random) -> tuple[str, Harm]:
    value = draw.choice(odd.VALUES)
    match draw.randrange(6):
        case 0:
            return draw.choice(list(HARMS.items()))
        case 1:
            field = draw.choice((*_FIELDS, *_FIELDS_TOO))
            return f"{field!a} = {odd.shown(value)}", forged(**{field: value})
        case 2:
            field = draw.choice(_OF_CONFIG)
            return f"config.{field} = {odd.shown(value)}", forged_config(**{field: value})
        case 3:
            name = draw.choice((TENSORS, MANIFEST, CARD))
            plant = draw.choice(list(PLANTS))
            return f"{name} is {plant}", replaced(name, PLANTS[plant])
        case 4:
            plant = draw.choice(list(PLANTS))
            return f"beside it {PRIOR}, {plant}", lambda path: PLANTS[plant](path / PRIOR)
        case _:
            seed = draw.randrange(10**9)
            return f"{TENSORS} with bytes changed, drawn from {seed}", lambda path: _garble(path / TENSORS, seed)


def _garble(path: Path, seed: int) -> None:
    """Changes bytes of the header more often than others, or cuts the file off."""
    draw = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(draw.randrange(1, 9)):
        content[draw.randrange(draw.choice((8, 200, len(content))))] = draw.randrange(256)
    if draw.random() < 0.3:
        del content[draw.randrange(len(content)) :]
    path.write_bytes(content)


def _suffer(stage: Stage, name: str, harm: Harm, seed: int) -> str | None:
    """Puts the set there, asks for everything that could stumble over it, and takes it away again."""
    path = _published(stage, name, harm, seed)
    client = stage.client("admin")
    try:
        asked = [
            client.post("/encode", json={"text": text, "adapter": adapter})
            for text in ("x",)
            for adapter in (name, "plain")
        ]
        asked += [client.get("/adapters"), client.get(f"/adapters/{name}"), client.get(f"/adapters/{name}/card")]
        listed = {entry["name"] for entry in asked[2].json()["data"]} if asked[2].status_code == 200 else set()
        missing = f"the list lacks good sets: {sorted(listed)}" if not listed >= {"plain", "prefixed"} else None
        ordinary = client.post("/encode", json={"text": KNOWN_TEXTS[0]})
        unanswered = f"the default: {ordinary.text[:200]}" if ordinary.status_code != 200 else None
        return first(*map(complaint, asked), missing, unanswered)
    finally:
        shutil.rmtree(path)
        if name != _DEFAULT:
            shutil.rmtree(path.parent, ignore_errors=True)


def _published(stage: Stage, name: str, harm: Harm, seed: int) -> Path:
    """Made elsewhere and put in place whole, as a copy from another machine would be; after everything else."""
    elsewhere = stage.home / "elsewhere"
    config = NAMED[random.Random(seed).choice(list(NAMED))]
    made = publish_tiny(elsewhere, stage.settings.weights, name, config, seed, created_at=_LATER)
    version = made.name
    harm(made)
    try:
        told = json.loads((made / MANIFEST).read_bytes()).get("version") if _is_small_file(made / MANIFEST) else None
    except (ValueError, AttributeError, RecursionError):
        told = None
    place = stage.settings.own_adapters / name / (told if isinstance(told, str) and told.isalnum() else version)
    place.parent.mkdir(parents=True, exist_ok=True)
    made.rename(place)
    return place


def _is_small_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and os.path.getsize(path) < 2**25


SETS = Kind(name="sets", told="hostile adapter sets on the disk", tries=tries, num_tries=110, most_mib=300)
