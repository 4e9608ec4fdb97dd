"""Streams of events, of the service and of anything else that may stand at its address."""

import httpx2
import pytest

from adavae.service.client.retries import AdaVAEServiceError
from adavae.service.client.stream_reading import StreamReading, event_content
from adavae.service.results import TextPiece


def event(data: str, kind: str = "message") -> httpx2.ServerSentEvent:
    return httpx2.ServerSentEvent(event=kind, data=data)


def test_a_stream_is_read_into_pieces_until_it_is_done() -> None:
    reading = StreamReading()
    pieces = [
        piece
        for data in ('{"index": 0, "text": "the"}', '{"texts": ["the food"]}', "[DONE]")
        for piece in reading.pieces(event(data))
    ]
    assert pieces == [TextPiece(0, "the")]
    reading.check_done()


@pytest.mark.parametrize("data", ["", "[", "3", "null", '"text"', "[1]", "[" * 100_000, '{"text"'])
def test_what_is_no_event_of_the_service_is_said_so(data: str) -> None:
    with pytest.raises(AdaVAEServiceError, match="is it the service") as refusal:
        event_content(event(data))
    assert refusal.value.code == "unreadable_reply"


@pytest.mark.parametrize("data", ["{}", '{"error": 3}', '{"error": {"code": "x"}}', '{"error": ["code"]}', "7"])
def test_an_error_without_its_fields_is_said_so(data: str) -> None:
    reading = StreamReading()
    with pytest.raises(AdaVAEServiceError, match="is it the service"):
        list(reading.pieces(event(data, "error")))
    assert reading.has_begun  # and is not asked again


def test_an_error_is_told_in_words_that_can_be_printed() -> None:
    data = '{"error": {"code": "over\\ud800", "message": "%s", "param": 7}}' % ("long" * 5000)
    with pytest.raises(AdaVAEServiceError) as refusal:
        event_content(event(data, "error"), status=503)
    str(refusal.value).encode()
    assert len(str(refusal.value)) < 2200
    assert (refusal.value.status, refusal.value.code, refusal.value.param) == (503, "over?", "7")


@pytest.mark.parametrize("data", ['{"text": 3, "index": 0}', '{"text": "a"}', '{"text": "a", "index": "0"}'])
def test_a_piece_of_another_form_adds_nothing(data: str) -> None:
    assert list(StreamReading().pieces(event(data))) == []
