"""Connections that keep a server waiting or can be read in two ways; those that only wait stay while it goes on."""

import random
from collections.abc import Generator

from tests.bench.abuse.crowd import Crowd
from tests.bench.abuse.stage import JOBS, Stage, key_of
from tests.bench.abuse.tries import Kind, Try
from tests.bench.abuse.verdict import refusal_complaint
from tests.bench.abuse.wire import exchange, head, last_answer

_KEY = f"authorization: Bearer {key_of('alice')}"
_BODY = b'{"text": "the food was great"}'
_JSON = "content-type: application/json"
_LARGE = "/page/vendor/echarts.js"
_ODD_STATUSES = (501, 505)  # of HTTP that is not ours to speak


def tries(stage: Stage, draw: random.Random) -> Generator[Try, None, None]:
    """More and more of a crowd, and odd requests in between."""
    with Crowd(stage.address).present() as crowd:
        while True:
            yield _odd_request(stage, draw) if draw.random() < 0.6 else _more_of_a_crowd(crowd, draw)


def _more_of_a_crowd(crowd: Crowd, draw: random.Random) -> Try:
    post = head("POST", "/encode", _KEY, _JSON, f"content-length: {len(_BODY)}")
    streaming = b'{"samples": 8, "stream": true}'
    told, content, takes_little = draw.choice(
        (
            ("silent", b"", False),
            ("a letter", b"G", False),
            ("half a head", head("GET", "/healthz")[:-2], False),
            ("a head without its body", post, False),
            ("half a body", post + _BODY[:9], False),
            ("no chunk", head("POST", "/encode", _KEY, _JSON, "transfer-encoding: chunked"), False),
            ("half a chunk", head("POST", "/encode", _KEY, _JSON, "transfer-encoding: chunked") + b"ff\r\n{", False),
            ("half a form", head("POST", "/v1/files", _KEY, "content-type: multipart/form-data; boundary=x",
             "content-length: 99999") + b"--x\r\n", False),
            ("idle after an answer", head("GET", "/healthz"), False),
            ("how TLS begins", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", False),
            ("takes no download", head("GET", _LARGE) * 20, True),
            ("takes no stream", head("POST", "/decode", _KEY, _JSON, f"content-length: {len(streaming)}") + streaming,
             True),
            ("watches jobs and takes nothing", head("GET", JOBS, _KEY) * 200, True),
        )
    )  # fmt: skip
    num = draw.choice((1, 10, 40, 120))
    if takes_little:
        num = min(num, 30)
    is_dripping = not takes_little and draw.random() < 0.4

    def join() -> None:
        for _ in range(num):
            crowd.add(content, is_dripping=is_dripping, takes_little=takes_little)

    return Try(f"{num} more: {told}{', dripping' if is_dripping else ''}", join)


def _odd_request(stage: Stage, draw: random.Random) -> Try:
    told, content = draw.choice((_two_ways, _odd_line, _odd_headers, _odd_body, _garbled))(draw)
    is_half_closed = draw.random() < 0.3

    def ask() -> str | None:
        try:
            answer = last_answer(exchange(stage.address, content, is_half_closed=is_half_closed))
        except TimeoutError:
            return "neither an answer nor an end within 30 s"
        if answer is None or answer[0] < 400 or answer[0] in _ODD_STATUSES:
            return None
        return refusal_complaint(*answer)

    return Try(f"{told}{', half closed' if is_half_closed else ''}", ask)


def _two_ways(draw: random.Random) -> tuple[str, bytes]:
    """What two programs could read differently; the second request must not be smuggled in."""
    lengths = (
        "content-length: 5",
        "content-length: 30",
        "content-length: 0",
        "content-length: +5",
        "content-length: 5, 6",
    )
    codings = ("transfer-encoding: chunked", "transfer-encoding: gzip, chunked", "transfer-encoding: identity",
               "transfer-encoding : chunked", "transfer-encoding:\tchunked", "Transfer-Encoding: xchunked")  # fmt: skip
    lines = [draw.choice(lengths), draw.choice(codings)]
    if draw.random() < 0.3:
        lines.append(draw.choice((*lengths, *codings)))
    draw.shuffle(lines)
    body = draw.choice((b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", _BODY)) + head("GET", "/healthz")
    return " & ".join(lines), head("POST", "/encode", _KEY, _JSON, *lines) + body


def _odd_line(draw: random.Random) -> tuple[str, bytes]:
    method = draw.choice(("GET", "get", "G" * 5000, "PRI", "CONNECT", "GET\t", "\x00", "G\xffT"))
    path = draw.choice(
        (
            *("/healthz", "*", "http://evil.example/healthz", "//evil", "/" + "a" * 40_000, "/%", "", "?", "/\x00"),
            *("/a b", "/../../etc/passwd", "/\xff"),
        )
    )
    version = draw.choice(
        ("HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/3.7", "HTTP/11.1", "HTTP/1.", "", "http/1.1")
    )
    line = f"{method} {path} {version}"
    end = draw.choice(("\r\n", "\n", "\r", "\r\n\r\n"))
    return f"line {line[:50]!r}", (line + end + "host: localhost\r\nconnection: close\r\n\r\n").encode("latin-1")


def _odd_headers(draw: random.Random) -> tuple[str, bytes]:
    told, lines = draw.choice(
        (
            ("many headers", ["x: y"] * draw.choice((90, 101, 5000))),
            ("a long header", ["x: " + "y" * draw.choice((8000, 40_000, 2_000_000))]),
            ("a long name", ["x" * 40_000 + ": y"]),
            ("a folded line", ["x: y", " z"]),
            ("no colon", ["x"]),
            ("a zero byte", ["x: a\x00b"]),
            ("a bare CR", ["x: a\rb: c"]),
            ("a bare LF", ["x: a\nb: c"]),
            ("two hosts", ["host: evil.example"]),
            ("an odd host", [f"x-forwarded-host: {'e' * 3000}"]),
            ("a thousand cookies", [f"cookie: a{number}=b" for number in range(1000)]),
            ("expects something", ["expect: " + draw.choice(("100-continue", "x", "200-ok"))]),
            ("another protocol", ["connection: upgrade", "upgrade: " + draw.choice(("websocket", "h2c", "x" * 500))]),
            ("ranges", ["range: bytes=" + ",".join(f"{n}-{n}" for n in range(0, 4000, 2))]),
            ("two keys", [_KEY, _KEY]),
            ("a broken key", ["authorization: Bearer \xff\xfe"]),
            ("an endless key", ["authorization: Bearer " + "k" * 20_000]),
            ("a request id", ["x-request-id: " + draw.choice(("\x1b[2J", "a" * 9000, "%0d%0a", "'--"))]),
        )
    )
    return told, head("GET", draw.choice(("/healthz", "/adapters", _LARGE)), *lines, "connection: close")


def _odd_body(draw: random.Random) -> tuple[str, bytes]:
    chunked = head("POST", "/encode", _KEY, _JSON, "transfer-encoding: chunked", "connection: close")
    told, body = draw.choice(
        (
            ("a size that is none", b"zz\r\n"),
            ("a negative size", b"-1\r\n\r\n"),
            ("a huge size", b"f" * 20 + b"\r\n"),
            ("a size with many digits", b"0" * 5000 + b"5\r\nhello\r\n0\r\n\r\n"),
            ("chunks of a byte", b"1\r\n \r\n" * 20_000 + b"0\r\n\r\n"),
            ("an extension without end", b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n"),
            ("trailers without end", b"2\r\n{}\r\n0\r\n" + b"x: y\r\n" * 5000 + b"\r\n"),
            ("more than it says", b"5\r\nhelloXX\r\n0\r\n\r\n"),
            ("the end first", b"0\r\n\r\n" + _BODY),
        )
    )
    return f"chunked, {told}", chunked + body


def _garbled(draw: random.Random) -> tuple[str, bytes]:
    """A good request with bytes changed, or nothing but bytes."""
    good = bytearray(head("POST", "/encode", _KEY, _JSON, f"content-length: {len(_BODY)}", "connection: close") + _BODY)
    if draw.random() < 0.3:
        return "random bytes", draw.randbytes(draw.choice((10, 1000, 100_000)))
    for _ in range(draw.randrange(1, 6)):
        good[draw.randrange(len(good))] = draw.randrange(256)
    return "bytes of a request changed", bytes(good)


CONNECTIONS = Kind(
    name="connections",
    told="slow, many and odd connections",
    tries=tries,
    num_tries=110,
    most_mib=250,
    settings={
        "ADAVAE_HEADER_TIMEOUT_S": "2",
        "ADAVAE_BODY_TIMEOUT_S": "2",
        "ADAVAE_WRITE_TIMEOUT_S": "2",
        "ADAVAE_KEEP_ALIVE_S": "1",
        "ADAVAE_MAX_CONNECTIONS": "400",
    },
)
