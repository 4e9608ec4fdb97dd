"""Replies behind Ray's proxy: one id each."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from adavae.service.cluster.one_request_id import OneRequestId
from adavae.service.http.request_id import RequestId


async def _answer(_request: object) -> PlainTextResponse:
    return PlainTextResponse("ok")


@pytest.fixture
def behind_a_proxy() -> TestClient:
    """The app as Ray's proxy calls it: with an id in the request, which the proxy writes into the reply itself."""
    layers = [Middleware(OneRequestId), Middleware(RequestId)]
    return TestClient(Starlette(routes=[Route("/", _answer)], middleware=layers))


def test_the_id_that_the_proxy_writes_is_not_written_again(behind_a_proxy: TestClient) -> None:
    assert "x-request-id" not in behind_a_proxy.get("/", headers={"x-request-id": "abc"}).headers


def test_an_id_of_our_own_stays_where_the_sent_one_is_not_sane(behind_a_proxy: TestClient) -> None:
    assert len(behind_a_proxy.get("/", headers={"x-request-id": "a b"}).headers["x-request-id"]) == 32


def test_without_a_proxy_the_id_is_ours(behind_a_proxy: TestClient) -> None:
    assert len(behind_a_proxy.get("/").headers["x-request-id"]) == 32
