"""What an object store's library says, in the few kinds that a user can do something about."""

import pytest

from adavae.service.objects.errors import Kind, StoreError, first_line, kind_of

SAID: dict[str, Kind] = {
    "Server returned non-2xx status code: 404 Not Found: <Code>NoSuchBucket</Code>": "absent",
    "Server returned non-2xx status code: 403 Forbidden: <Code>AccessDenied</Code>": "forbidden",
    "Server returned error response status code: 503 Service Unavailable: SlowDown": "throttled",
    "HTTP error: error sending request": "unreachable",
    "HTTP error: operation timed out": "unreachable",
    "Server returned non-2xx status code: 500 Internal Server Error": "failed",
    "": "failed",
}


@pytest.mark.parametrize(("text", "kind"), SAID.items())
def test_each_comes_to_one_kind(text: str, kind: Kind) -> None:
    assert kind_of(Exception(text)) == kind


def test_details_of_the_library_are_left_out() -> None:
    error = Exception("Generic S3 error: it\nfailed\n\nDebug source:\nGeneric { secret }")
    assert first_line(error) == "Generic S3 error: it failed"
    assert len(first_line(Exception("x" * 1000))) == 300
    assert first_line(Exception()) == "Exception"


def test_a_client_is_told_what_to_do_and_not_what_the_store_said() -> None:
    error = StoreError("unreachable", "s3://private/place", "error sending request to 10.0.0.7")
    answer = error.answer()
    assert (answer.status, answer.code) == (503, "storage_unreachable")
    assert "private" not in answer.message and "10.0.0.7" not in answer.message
    assert "see to the network" in answer.message and "10.0.0.7" in str(error)
    assert StoreError("absent", "s3://b", "x").answer().code == "storage_unmounted"
