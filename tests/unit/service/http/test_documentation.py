"""The replies that /docs shows are replies to the examples that it shows."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from adavae.service.http.documentation import ANSWERS
from tests.documented_answers import examples, shortened
from tests.unit.service.http_client import client_of


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    with client_of() as client:
        found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def test_every_example_of_a_request_has_its_answer(description: dict[str, Any]) -> None:
    answers = json.loads(ANSWERS.read_text(encoding="utf-8"))
    assert {path: each["request"] for path, each in answers.items()} == examples(description)
    assert len(answers) == 9


def test_answers_are_shown_and_are_what_a_reply_looks_like(description: dict[str, Any]) -> None:
    for path, each in json.loads(ANSWERS.read_text(encoding="utf-8")).items():
        content = description["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]
        assert content["example"] == _without_nulls(each["reply"])  # FastAPI leaves them out
        schema = {**content["schema"], "components": description["components"]}
        assert list(Draft202012Validator(schema).iter_errors(each["reply"])) == [], path


def test_answers_say_something() -> None:
    answers = json.loads(ANSWERS.read_text(encoding="utf-8"))
    for path in ("/decode", "/interpolate", "/analogy", "/variations", "/traverse"):
        texts = [word for word in _strings(answers[path]["reply"]) if word.count(" ") > 2]
        assert texts, path


def test_only_vectors_are_cut() -> None:
    given = {"mu": [0.5] * 256, "tau": [0.0, 1.0], "data": [{"z": [1] * 17, "text": "a"}] * 20}
    assert shortened(given) == {"mu": [0.5] * 4, "tau": [0.0, 1.0], "data": [{"z": [1] * 4, "text": "a"}] * 20}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [word for each in value.values() for word in _strings(each)]
    if isinstance(value, list):
        return [word for each in value for word in _strings(each)]
    return [value] if isinstance(value, str) else []
