"""What a request may hold in its lists and objects, whatever the request."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from starlette.testclient import TestClient

from adavae.service import schemas
from adavae.service.jobs.hyperparameters import Hyperparameters
from adavae.service.schemas.body import Body
from adavae.service.schemas.reply import Reply
from adavae.service.settings import MOST_ENTRIES, Settings
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_training_service import StubTrainingService

_MANY = MOST_ENTRIES + 1
_NAMES = [f"name {number}" for number in range(_MANY)]
_PAYLOADS: dict[str, Any] = {
    "nulls": [None] * _MANY,
    "numbers": [1] * _MANY,
    "texts": ["a"] * _MANY,
    "empty lists": [[]] * _MANY,
    "lists of nulls": [[None]] * _MANY,
    "lists of numbers": [[1]] * _MANY,
    "lists of many nulls": [[None] * _MANY],
    "lists of many numbers": [[1] * _MANY],
    "objects": [{}] * _MANY,
    "pairs with nulls": dict.fromkeys(_NAMES),
    "pairs with numbers": dict.fromkeys(_NAMES, 1),
    "pairs with texts": dict.fromkeys(_NAMES, "a"),
    "nameless pairs": {"": 1} | dict.fromkeys(_NAMES, 1.5),
}


def _requests() -> list[type[BaseModel]]:
    for module in pkgutil.iter_modules(schemas.__path__):
        importlib.import_module(f"{schemas.__name__}.{module.name}")
    ours = [each for each in _subclasses(BaseModel) if each.__module__.startswith(schemas.__name__)]
    kinds = {each for each in ours if not issubclass(each, Reply)} - {Body}
    return [*sorted(kinds, key=lambda kind: kind.__name__), Hyperparameters]


def _subclasses(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _example(kind: type[BaseModel]) -> dict[str, Any]:
    extra = kind.model_config.get("json_schema_extra")
    assert extra is None or isinstance(extra, dict)
    examples: Any = (extra or {}).get("examples", [{}])
    return dict(examples[0])


def _errors(kind: type[BaseModel], body: dict[str, Any]) -> list[Any]:
    try:
        kind.model_validate(body)
    except ValidationError as exc:
        assert exc.error_count() < 100
        return exc.errors(include_input=False, include_url=False)
    return []


@pytest.mark.parametrize("payload", _PAYLOADS)
@pytest.mark.parametrize("kind", _requests(), ids=lambda kind: str(kind.__name__))
def test_too_many_entries_are_one_error(kind: type[BaseModel], payload: str) -> None:
    """Each was looked at before they were counted: 400,000 pairs of metadata with numbers in them made as many
    errors, and kept the event loop for eight seconds.
    """
    for name, field in kind.model_fields.items():
        wire_name = field.alias or name
        errors = _errors(kind, _example(kind) | {wire_name: _PAYLOADS[payload]})
        about_it = [each for each in errors if wire_name in (*each["loc"][:1], each.get("ctx", {}).get("field"))]
        assert len(about_it) == 1, (name, about_it[:3])


@pytest.mark.parametrize("kind", _requests(), ids=lambda kind: str(kind.__name__))
def test_many_unknown_fields_are_one_error(kind: type[BaseModel]) -> None:
    assert len(_errors(kind, _example(kind) | dict.fromkeys(_NAMES, 1))) == 1


@pytest.mark.parametrize("kind", _requests(), ids=lambda kind: str(kind.__name__))
def test_every_list_says_how_many_entries_it_may_have(kind: type[BaseModel]) -> None:
    for part in _parts(kind.model_json_schema()):
        if part.get("type") == "array" and "items" in part:
            assert part["maxItems"] <= MOST_ENTRIES
        if isinstance(part.get("additionalProperties"), dict):
            assert part["maxProperties"] <= MOST_ENTRIES


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object within a JSON schema, examples apart."""
    if isinstance(schema, list):
        for each in schema:
            yield from _parts(each)
    elif isinstance(schema, dict):
        yield schema
        for name, each in schema.items():
            if name != "examples":
                yield from _parts(each)


@pytest.mark.parametrize("name", ["max_texts", "max_embedding_texts", "max_map_texts", "max_samples"])
def test_no_setting_allows_more_than_a_schema_does(name: str) -> None:
    with pytest.raises(ValidationError, match=f"less than or equal to {MOST_ENTRIES}"):
        Settings.model_validate({name: _MANY})


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of(training=StubTrainingService()) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/embeddings", {"model": "yelp", "input": [[1]] * _MANY}, "input"),
        ("/encode", {"texts": ["a"] * _MANY}, "texts"),
        ("/encode", {"texts": ["a"], "text_pairs": ["a"] * _MANY}, "text_pairs"),
        ("/decode", {"z": [[1]] * _MANY}, "z"),
        ("/map", {"texts": ["a"] * 3, "labels": [1] * _MANY}, "labels"),
        ("/traverse", {"text": "a", "direction": {"from": ["a"] * _MANY, "to": ["b"]}}, "direction.from"),
    ],
)
def test_the_refusal_names_the_field_its_entries_and_the_limit(
    client: TestClient, path: str, body: dict[str, Any], param: str
) -> None:
    reply = client.post(path, json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["code"]) == (422, param, "invalid_value")
    assert error["message"] == f"{param}: has {_MANY} entries, the limit is {MOST_ENTRIES}: send fewer"


def test_too_much_metadata_is_refused_unread(client: TestClient) -> None:
    job = {"model": "bundled", "training_file": "file-0", "suffix": "reviews"}
    reply = client.post("/v1/fine_tuning/jobs", json=job | {"metadata": dict.fromkeys(_NAMES, 1)})
    assert reply.status_code == 422
    assert reply.json()["error"]["message"] == f"metadata: has {_MANY} entries, the limit is 16: send fewer"
