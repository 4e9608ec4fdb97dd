"""What every client of the service does alike: reads replies and refusals, and waits before it tries again."""

import random
import time
from collections.abc import Callable
from typing import Any, Self

import httpx2

from adavae.service.client.connecting import connection_options, shown

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 30.0
_LONGEST_ASKED_S = 60.0
"""That a service may ask to wait: what a limit of so many a minute takes at most. Nobody waits longer unasked."""
_PATIENCE = (429, 503)
_OF_A_PROXY = (500, 502, 504)
"""What a proxy says of a server that died with the request; the service never says that without a code of its own."""
_NO_CODE = "http_error"
_BROKEN = (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError)


class AdaVAEServiceError(Exception):
    """The service refused, or could not be reached.

    Attributes:
        status: HTTP status; 0 where there was none: no reply came, or it broke off after it had begun.
        code: Short and stable, for programs.
        message: Names the value, the limit and the remedy.
        param: The field it is about, or None.
        request_id: Names the request in the service's log, or None.
        retry_after_s: Seconds the service asks to wait, or None.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        message = message.encode("utf-8", "replace").decode()  # half surrogate pairs cannot be printed
        code = code.encode("utf-8", "replace").decode()
        where = f"{param}: " if param is not None and param not in message else ""
        super().__init__(f"{where}{message} [{status} {code}]" if status else f"{where}{message} [{code}]")
        self.status, self.code, self.message, self.param = status, code, message, param
        self.request_id, self.retry_after_s = request_id, retry_after_s

    def renamed(self, rename: Callable[[str], str]) -> "AdaVAEServiceError":
        """The same, with ``rename`` applied to what names the field."""
        param = None if self.param is None else rename(self.param)
        return AdaVAEServiceError(
            self.status, self.code, rename(self.message), param, self.request_id, self.retry_after_s
        )


def content_of(response: httpx2.Response) -> Any:
    """What a reply holds; raises AdaVAEServiceError for a refusal, and for what is no reply of the service."""
    if not response.is_success:
        raise refusal_of(response)
    try:
        return response.json()
    except ValueError as exc:
        message = f"{shown(response.url)} answered with something that is not JSON: is it the service?"
        raise AdaVAEServiceError(response.status_code, "unreadable_reply", message) from exc


def refusal_of(response: httpx2.Response) -> AdaVAEServiceError:
    """The error in a reply that has been read, or one made of its status where a proxy wrote it."""
    try:
        error = response.json()["error"]
        code, message, param = str(error["code"]), str(error["message"]), error.get("param")
    except (ValueError, TypeError, KeyError, AttributeError):
        code, message, param = (
            _NO_CODE,
            f"{shown(response.url)} answered {response.reason_phrase or 'an error'}",
            None,
        )
    wanted = response.headers.get("retry-after", "")
    return AdaVAEServiceError(
        response.status_code,
        code,
        message,
        param,
        request_id=response.headers.get("x-request-id"),
        retry_after_s=float(wanted) if wanted.isdecimal() and wanted.isascii() else None,
    )


class Attempts:
    """Tries of one call: how long to wait before the next one, or that there is none.

    Attributes:
        has_lost: A try had no answer of the service: what it asked for may have been done.
    """

    def __init__(self, max_retries: int) -> None:
        self.has_lost = False
        self._num_left = max_retries
        self._ceiling_s = _FIRST_PAUSE_S

    def pause_s(self, error: Exception, *, is_final: bool = False) -> float:
        """Seconds to wait: what the service asks for, and a random part that doubles its ceiling.

        Raises:
            AdaVAEServiceError: Another try would not help, it was the last one, or the next one is too far off.
        """
        refusal = error if isinstance(error, AdaVAEServiceError) else _unreached(error)
        is_proxys = refusal.code == _NO_CODE and refusal.status in _OF_A_PROXY
        is_lost = isinstance(error, _BROKEN) or is_proxys
        self.has_lost = self.has_lost or is_lost
        is_passing = is_lost or refusal.status in _PATIENCE
        asked_s = refusal.retry_after_s or 0.0
        if is_final or not is_passing or self._num_left <= 0 or asked_s > _LONGEST_ASKED_S:
            raise refusal from (None if refusal is error else error)
        self._num_left -= 1
        jitter_s = random.uniform(0.0, self._ceiling_s)
        self._ceiling_s = min(2 * self._ceiling_s, _LONGEST_PAUSE_S)
        return asked_s + jitter_s


def _unreached(error: Exception) -> AdaVAEServiceError:
    what = "took too long" if isinstance(error, httpx2.TimeoutException) else "could not be reached, or broke off"
    url = shown(error.request.url) if isinstance(error, httpx2.RequestError) else "the service"
    return AdaVAEServiceError(0, "no_answer", f"{url} {what} ({type(error).__name__}: {error})")


class HttpClient:
    """Connections to one service, for clients that wait for its answers. Use it in a ``with``, or call ``close``."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = 90.0,
        max_retries: int = 4,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            base_url: Where the service listens.
            api_key: Sent as a bearer token.
            timeout_s: Longest silence within one try, connecting included.
            max_retries: Further tries after the first.
            transport: In place of the network.

        Raises:
            TypeError, ValueError: The key cannot be sent.
        """
        self._http = httpx2.Client(transport=transport, **connection_options(base_url, api_key, timeout_s))
        self._timeout_s, self._max_retries = timeout_s, max_retries
        self._pause: Callable[[float], None] = time.sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _answer(self, send: Callable[[], httpx2.Response], attempts: Attempts | None = None) -> Any:
        """What ``send`` is answered, in as many tries as it takes; raises AdaVAEServiceError after the last one.

        ``attempts`` are for who wants to know how it went.
        """
        attempts = attempts or Attempts(self._max_retries)
        while True:
            try:
                return content_of(send())
            except (httpx2.RequestError, AdaVAEServiceError) as exc:
                self._pause(attempts.pause_s(exc))
