"""Every operation through HTTP and its client, through the library, and on the command line: one answer."""

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import numpy as np
import pytest

from adavae.model.decoding.decoding import Decoding
from adavae.model.latent.direction import BetweenLabels, BetweenTexts, Dimension
from adavae.model.latent.map_points import MapPoints, map_points
from adavae.model.latent.steering import Draw, Steering
from adavae.model.loaded_set import LoadedSet
from adavae.model.results import Classified
from adavae.model.text_model import TextModel
from adavae.service.cli import main
from adavae.service.client.async_latent import AsyncAdaVAEClient
from adavae.service.latent_service import LatentService
from adavae.service.loading import load_text_model
from adavae.service.main import create_app
from adavae.service.metrics import Metrics
from adavae.service.settings import Settings
from tests.tiny import PREFIXED
from tests.tiny_home import publish_tiny, tiny_settings
from tests.tiny_prior import tiny_prior
from tests.tiny_text import as_tsv, reviews

NAME, MAX_TOKENS = "spaced", 6
GREEDY = Decoding(max_tokens=MAX_TOKENS, seed=3)
A, B, C, D = "the food was awful", "the food was great", "my room was bad 7 .", "our waiter was rude"
STEERING = Steering(refine=0.4, truncation=0.7, candidates=3)
WIRE: Any = {"refine": 0.4, "truncation": 0.7, "candidates": 3}
OPTIONS = ["--refine", "0.4", "--truncation", "0.7", "--candidates", "3"]


@dataclass(frozen=True)
class Ways:
    """One operation by the client, by the library and by the command line, each to its texts."""

    client: Callable[[AsyncAdaVAEClient], Any]
    library: Callable[[TextModel], list[str]]
    command: list[str]


def _texts(rows: list[Any]) -> list[str]:
    return [getattr(row, "decoded", row).text for row in rows]


OPERATIONS = {
    "draws": Ways(
        lambda client: client.sample(4, NAME, draw={"label": "yes", "guidance": 1.5, **WIRE}, max_tokens=6, seed=3),
        lambda model: _texts(model.sample(4, NAME, GREEDY, Draw(label="yes", guidance=1.5), STEERING)),
        ["decode", "-n", "4", "--label", "yes", "--guidance", "1.5", *OPTIONS],
    ),
    "walk": Ways(
        lambda client: client.interpolate(A, B, 5, "linear", NAME, steering=WIRE, max_tokens=6, seed=3),
        lambda model: _texts(model.interpolate(A, B, 5, NAME, GREEDY, steering=STEERING)),
        ["interpolate", A, B, "--steps", "5", *OPTIONS],
    ),
    "analogies": Ways(
        lambda client: client.analogy(A, B, [C, D], 1.5, 1, NAME, steering=WIRE, max_tokens=6, seed=3),
        lambda model: _texts(model.analogy(A, B, [C, D], NAME, GREEDY, 1.5, STEERING)),
        ["analogy", A, B, C, D, "--scale", "1.5", *OPTIONS],
    ),
    "analogy at defaults": Ways(
        lambda client: client.analogy(A, B, C, adapter=NAME, max_tokens=6),
        lambda model: _texts(model.analogy(A, B, C, NAME, GREEDY)),
        ["analogy", A, B, C],
    ),
    "variations": Ways(
        lambda client: client.variations([A, C], 3, 1.5, NAME, steering={"refine": 0.4}, max_tokens=6, seed=3),
        lambda model: [
            text
            for rows in model.variations([A, C], NAME, GREEDY, 3, 1.5, Steering(refine=0.4))
            for text in _texts(rows)
        ],
        ["variations", A, C, "-n", "3", "--distance", "1.5", "--refine", "0.4"],
    ),
    "dimension": Ways(
        lambda client: client.traverse(A, {"dimension": 2}, 4, (-3.0, 3.0), NAME, steering=WIRE, max_tokens=6, seed=3),
        lambda model: _texts(model.traverse(A, Dimension(2), NAME, GREEDY, 4, (-3.0, 3.0), STEERING)),
        ["traverse", A, "--dimension", "2", "--steps", "4", "--range", "-3", "3", *OPTIONS],
    ),
    "labels": Ways(
        lambda client: client.traverse(A, {"from": "no", "to": "yes"}, adapter=NAME, max_tokens=6),
        lambda model: _texts(model.traverse(A, BetweenLabels("no", "yes"), NAME, GREEDY)),
        ["traverse", A, "--from-label", "no", "--to-label", "yes"],
    ),
    "examples": Ways(
        lambda client: client.traverse(C, {"from": [A, D], "to": [B]}, adapter=NAME, max_tokens=6),
        lambda model: _texts(model.traverse(C, BetweenTexts((A, D), (B,)), NAME, GREEDY)),
        ["traverse", C, "--from-text", A, "--from-text", D, "--to-text", B],
    ),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = tiny_settings(tmp_path_factory.mktemp("home"), default_adapter="plain")
    root, weights = settings.bundled_adapters, settings.weights
    publish_tiny(root, weights, NAME, PREFIXED, 2, prior=tiny_prior(PREFIXED))
    return settings


Answer = TypeVar("Answer")


def asked(home: Settings, ask: Callable[[AsyncAdaVAEClient], Awaitable[Answer]]) -> Answer:
    """What a client is told by the service over HTTP."""

    async def serve_and_ask() -> Answer:
        metrics = Metrics()
        service = LatentService(home, metrics)
        await service.start()
        transport = httpx2.ASGITransport(create_app(home, service, metrics))
        try:
            async with AsyncAdaVAEClient("http://127.0.0.1", transport=transport, max_retries=0) as client:
                return await ask(client)
        finally:
            await service.stop()

    return asyncio.run(serve_and_ask())


@pytest.fixture(scope="module")
def answers(home: Settings) -> dict[str, list[str]]:
    """Of the service, by its client."""

    async def ask(client: AsyncAdaVAEClient) -> dict[str, list[str]]:
        return {name: _flat(await ways.client(client)) for name, ways in OPERATIONS.items()}

    return asked(home, ask)


def _flat(answer: list[Any]) -> list[str]:
    return [text for part in answer for text in ([part] if isinstance(part, str) else part)]


@pytest.fixture(scope="module")
def text_model(home: Settings) -> TextModel:
    return load_text_model(home, [NAME])


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_way_gives_the_same_texts(
    name: str,
    home: Settings,
    answers: dict[str, list[str]],
    text_model: TextModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ways = OPERATIONS[name]
    expected = ways.library(text_model)
    assert len(expected) > 0
    assert answers[name] == expected
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(home.weights))
    monkeypatch.setenv("ADAVAE_DATA", str(home.data))
    decoding = ["--max-tokens", str(MAX_TOKENS), "--seed", "3"]
    with pytest.raises(SystemExit) as ended:
        main([*ways.command, "--adapter", NAME, *decoding, "--json"])
    assert not ended.value.code
    written = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    assert written == expected


def test_the_ways_differ_from_each_other(answers: dict[str, list[str]]) -> None:
    assert len({tuple(texts) for texts in answers.values()}) == len(answers)


def test_a_loaded_set_has_every_operation_with_the_answers_of_the_other_doors(
    home: Settings,
    answers: dict[str, list[str]],
    text_model: TextModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """encode, decode and classify through all three; of the rest, whose doors are compared above, the library's."""
    loaded, few = LoadedSet(text_model, NAME), {"max_tokens": MAX_TOKENS, "seed": 3}
    options: Any = WIRE | few
    assert _texts(loaded.interpolate(A, B, 5, **options)) == answers["walk"]
    assert _texts(loaded.analogy(A, B, [C, D], 1.5, **options)) == answers["analogies"]
    assert _texts(loaded.sample(4, label="yes", guidance=1.5, **options)) == answers["draws"]
    assert _texts(loaded.traverse(A, {"dimension": 2}, 4, (-3.0, 3.0), **options)) == answers["dimension"]
    varied: Any = {"refine": 0.4} | few
    rows = loaded.variations([A, C], 3, 1.5, **varied)
    assert [text for each in rows for text in _texts(each)] == answers["variations"]

    mu = loaded.encode([A, B, C]).mu.numpy()
    texts, classified = _texts(loaded.decode(mu, max_tokens=MAX_TOKENS)), loaded.classify([A, B, C])

    async def ask(client: AsyncAdaVAEClient) -> tuple[Any, list[str], list[Classified]]:
        told = await client.encode([A, B, C], NAME)
        return told, await client.decode(mu, NAME, max_tokens=MAX_TOKENS), await client.classify([A, B, C], NAME)

    told_mu, told_texts, told_classified = asked(home, ask)
    np.testing.assert_allclose(told_mu, mu, atol=1e-5)
    assert told_texts == texts
    _same_labels(told_classified, classified)

    monkeypatch.setenv("ADAVAE_WEIGHTS", str(home.weights))
    monkeypatch.setenv("ADAVAE_DATA", str(home.data))
    capsys.readouterr()  # what the service logged

    def written(*command: str) -> list[dict[str, Any]]:
        with pytest.raises(SystemExit) as ended:
            main([*command, "--adapter", NAME, "--json"])
        assert not ended.value.code
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    encoded = written("encode", A, B, C)
    np.testing.assert_allclose([row["mu"] for row in encoded], mu, atol=1e-5)
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{json.dumps({'mu': row.tolist()})}\n" for row in mu)))
    assert [row["text"] for row in written("decode", "--max-tokens", str(MAX_TOKENS))] == texts
    rows_written = written("classify", A, B, C)
    shown = [{each["label"]: each["score"] for each in row["scores"]} for row in rows_written]
    _same_labels([Classified(next(iter(scores)), scores) for scores in shown], classified)


def _same_labels(told: list[Classified], expected: list[Classified]) -> None:
    assert [row.label for row in told] == [row.label for row in expected]
    for mine, theirs in zip(told, expected, strict=True):
        assert mine.scores == pytest.approx(theirs.scores, abs=1e-5)


def test_a_file_of_texts_is_what_texts_are(
    home: Settings,
    answers: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "c.txt").write_text(f"{C}\n{D}\n", encoding="utf-8")
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(home.weights))
    monkeypatch.setenv("ADAVAE_DATA", str(home.data))
    command = ["analogy", A, B, "--c-file", str(tmp_path / "c.txt"), "--scale", "1.5", *OPTIONS]
    with pytest.raises(SystemExit):
        main([*command, "--adapter", NAME, "--max-tokens", "6", "--seed", "3", "--json"])
    written = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    assert written == answers["analogies"]


def test_a_text_is_cleaned_alike_whichever_door_it_comes_through(
    home: Settings,
    text_model: TextModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A no-break space or a decomposed accent was another text to one door than to the other."""
    plain, odd = "the caf\u00e9 was great .", "\u00a0 the\u2009cafe\u0301\u00a0was great .\n"
    file = tmp_path / "a.csv"
    file.write_text(f'text\n"{odd}"\n', encoding="utf-8")
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(home.weights))
    monkeypatch.setenv("ADAVAE_DATA", str(home.data))
    wanted = text_model.encode([plain], NAME).mu[0].numpy()
    found = [text_model.encode([odd], NAME).mu[0].numpy(), asked(home, lambda client: client.encode([odd], NAME))[0]]
    capsys.readouterr()  # what the service logged
    for arguments in ([odd], ["--file", str(file)]):
        with pytest.raises(SystemExit) as ended:
            main(["encode", *arguments, "--adapter", NAME, "--json"])
        assert not ended.value.code
        found.append(np.array(json.loads(capsys.readouterr().out)["mu"]))
    for mu in found:
        np.testing.assert_allclose(mu, wanted, atol=1e-5)
    other = text_model.encode(["the cafe was great ."], NAME).mu[0].numpy()
    assert not np.allclose(other, wanted, atol=1e-4)


def test_every_way_draws_the_same_map(
    home: Settings,
    text_model: TextModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Points, neighbours, the way back, how well labels part; from the command as lines and as either kind of file."""
    dataset = reviews(24)
    texts, labels = list(dataset.texts), list(dataset.labels or ())
    expected = map_points(text_model.encode(texts, NAME).mu.numpy(), labels, "pca")
    assert expected.plane is not None and expected.separation is not None
    told = asked(home, lambda client: client.map(texts, NAME, labels=labels))
    assert told.plane is not None and told.separation == expected.separation
    _same_points(told, expected)
    np.testing.assert_allclose(told.plane.lift([[0.5, -1.0]]), expected.plane.lift([[0.5, -1.0]]), atol=1e-3)

    (tmp_path / "texts.tsv").write_text(as_tsv(dataset), encoding="utf-8")
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(home.weights))
    monkeypatch.setenv("ADAVAE_DATA", str(home.data))
    command = ["map", str(tmp_path / "texts.tsv"), "--adapter", NAME]
    capsys.readouterr()  # what the service logged
    for output in (None, tmp_path / "map.json", tmp_path / "map.csv"):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--json"] if output is None else [*command, "--output", str(output)])
        assert not ended.value.code
        rows = _rows(output, capsys.readouterr().out)
        assert [row["text"] for row in rows] == texts
        assert [row["label"] for row in rows] == labels
        assert [int(row["nearest"]) for row in rows] == expected.neighbours.nearest.tolist()
        np.testing.assert_allclose([(float(row["x"]), float(row["y"])) for row in rows], expected.points, atol=1e-3)
    whole = json.loads((tmp_path / "map.json").read_text(encoding="utf-8"))
    np.testing.assert_allclose(whole["basis"], expected.plane.basis, atol=1e-3)
    assert whole["separation"]["accuracy"] == expected.separation.accuracy


def _same_points(told: MapPoints, expected: MapPoints) -> None:
    np.testing.assert_allclose(told.points, expected.points, atol=1e-3)
    np.testing.assert_array_equal(told.neighbours.nearest, expected.neighbours.nearest)
    np.testing.assert_allclose(told.neighbours.distance, expected.neighbours.distance, atol=1e-3)


def _rows(output: Path | None, stdout: str) -> list[dict[str, Any]]:
    if output is None:
        return [json.loads(line) for line in stdout.splitlines()]
    if output.suffix == ".csv":
        return list(csv.DictReader(output.read_text(encoding="utf-8").splitlines()))
    rows: list[dict[str, Any]] = json.loads(output.read_text(encoding="utf-8"))["data"]
    return rows
