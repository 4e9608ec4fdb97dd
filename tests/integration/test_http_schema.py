"""What the OpenAPI document says is so: generated requests, right and wrong ones, never fail the server."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.strategies import booleans
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from adavae.service.main import create_app
from tests.integration.real_server import serving
from tests.unit.service.stub_latent_service import StubLatentService, stub_settings
from tests.unit.service.stub_training_service import FILE, JOB, StubTrainingService

_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
_OPERATIONS = [
    ("POST", "/encode"),
    ("POST", "/decode"),
    ("POST", "/interpolate"),
    ("POST", "/analogy"),
    ("POST", "/variations"),
    ("POST", "/traverse"),
    ("POST", "/map"),
    ("POST", "/classify"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{name}"),
    ("DELETE", "/v1/models/{name}"),
    ("GET", "/adapters"),
    ("GET", "/adapters/{name}"),
    ("GET", "/adapters/{name}/card"),
    ("GET", "/adapters/{name}/archive"),
    ("POST", "/adapters"),
    ("DELETE", "/adapters/{name}"),
    ("GET", "/key"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/version"),
    ("POST", "/read"),
    ("POST", "/v1/files"),
    ("GET", "/v1/files"),
    ("GET", "/v1/files/{file_id}"),
    ("GET", "/v1/files/{file_id}/content"),
    ("DELETE", "/v1/files/{file_id}"),
    ("POST", "/v1/fine_tuning/jobs"),
    ("GET", "/v1/fine_tuning/jobs"),
    ("GET", "/v1/fine_tuning/jobs/{job_id}"),
    ("GET", "/v1/fine_tuning/jobs/{job_id}/events"),
    ("GET", "/v1/fine_tuning/jobs/{job_id}/checkpoints"),
    ("POST", "/v1/fine_tuning/jobs/{job_id}/cancel"),
    ("POST", "/v1/fine_tuning/jobs/{job_id}/pause"),
    ("POST", "/v1/fine_tuning/jobs/{job_id}/resume"),
]
_TAKES_NOTHING = ("/v1/models", "/key", "/healthz", "/readyz", "/metrics", "/version")
_KNOWN = {"file_id": FILE, "job_id": JOB}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(StubLatentService(problem=None), StubTrainingService(), max_steps=8) as url:
        yield url


def _is_sent_as_meant(body: object) -> bool:
    """In a form everything is text: a column's name that shall be wrong by being a number arrives as a right one."""
    named = [value for name, value in body.items() if str(name).endswith("_column")] if isinstance(body, dict) else []
    return all(isinstance(value, str) for value in named)


def test_every_operation_is_among_those_that_are_tried() -> None:
    paths = create_app(stub_settings(), StubLatentService()).openapi()["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == set(_OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), _OPERATIONS)
def test_generated_requests_are_answered_as_documented(url: str, method: str, path: str, mode: GenerationMode) -> None:
    operation = schemathesis.openapi.from_url(f"{url}/openapi.json")[path][method]
    if mode.is_negative and path in _TAKES_NOTHING:
        return  # there is nothing that could be wrong

    @given(case=operation.as_strategy(generation_mode=mode), is_known=booleans())
    @settings(
        max_examples=30 if "{" in path else 60,  # most of these are answered 404
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def answered(case: schemathesis.Case, is_known: bool) -> None:
        assume(_is_sent_as_meant(case.body))
        if is_known and not mode.is_negative:
            case.path_parameters |= {name: _KNOWN[name] for name in case.path_parameters if name in _KNOWN}
        case.call_and_validate(checks=_CHECKS)

    answered()
