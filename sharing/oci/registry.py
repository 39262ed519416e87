"""The client of an OCI registry: that of the library oras, with time limits and the errors of file systems."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from http.client import responses
from typing import Any
from urllib.parse import urljoin, urlsplit

import oras.auth
import oras.provider
from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter

#: Registries on this machine are reached without TLS, as Docker does.
_LOCAL = ("localhost", "127.0.0.1")

#: Seconds for a connection, and between two parts of an answer.
_SECONDS = 30.0

#: The most bytes of a manifest, which all registries support, or of a page of a listing, and the most pages.
_MOST_BYTES, _MOST_PAGES = 4 << 20, 100

#: Statuses of requests that can succeed later.
_LATER = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)

logging.getLogger("oras").setLevel(logging.CRITICAL)  # failures are raised


class Registry(oras.provider.Registry):
    """A registry by its host and port.

    Its requests raise `FileNotFoundError` for the status 404, except to HEAD, `PermissionError` for other refusals, and
    another `OSError` if the registry does not answer or fails. The library itself would try again for two minutes.
    """

    def __init__(self, host: str) -> None:
        super().__init__(host, insecure=host.partition(":")[0] in _LOCAL)
        self.address = f"{self.prefix}://{host}"
        self.session.request = partial(self.session.request, timeout=_SECONDS)
        self.session.headers["Accept-Encoding"] = "identity"  # digests are those of the files
        self.headers: dict[str, str] = {}  # of all requests
        if self.prefix == "https":
            self.session.mount("http://", _Plain())

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        json: Any = None,
        stream: bool = False,
    ) -> Response:
        """Send a request, again with credentials if the registry asks for them. Only a caller that streams reads."""
        try:
            send = partial(self.session.request, method, url, data=data, json=json, stream=True)
            answer: Response = send(headers=(headers or {}) | self.headers)
            if answer.status_code in (401, 403) and "WWW-Authenticate" in answer.headers:
                answer.close()
                self.headers = self._credentials(answer)
                answer = send(headers=(headers or {}) | self.headers)
        except RequestException as error:
            raise ConnectionError(_first_cause(error)) from error
        if not (stream and answer.ok):
            answer.close()
        if not answer.ok and (method, answer.status_code) != ("HEAD", HTTPStatus.NOT_FOUND):
            raise _error(answer.status_code)
        return answer

    def read(self, path: str, **headers: str) -> bytes:
        """Return a document."""
        return self._read(f"{self.address}/v2/{path}", headers)[0]

    def names(self, path: str, key: str) -> Iterator[str]:
        """Yield the names in a listing, whose pages link to the next."""
        url = f"{self.address}/v2/{path}"
        for _ in range(_MOST_PAGES):
            page, answer = self._read(url, {})
            yield from map(str, json.loads(page)[key] or ())
            if "next" not in answer.links:
                return
            link = urlsplit(urljoin(url, answer.links["next"]["url"]))
            url = f"{self.address}{link.path}?{link.query}"  # credentials go to no other host
        raise OSError(f"the registry lists more than {_MOST_PAGES} pages")

    def _read(self, url: str, headers: dict[str, str]) -> tuple[bytes, Response]:
        with self.do_request(url, headers=headers, stream=True) as answer:
            content: bytes = answer.raw.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"the registry answered with more than {_MOST_BYTES:,} bytes")
        return content, answer

    def _credentials(self, refusal: Response) -> dict[str, str]:
        """Return the header that a refusal asks for: a password, or a token that the registry gives for it."""
        basic = refusal.headers["WWW-Authenticate"].lower().startswith("basic")
        backend = oras.auth.get_auth_backend("basic" if basic else "token", self.session, self.prefix == "http")
        user, password = os.environ.get("ORAS_USER", ""), os.environ.get("ORAS_PASS", "")
        if user or basic:  # an empty password, because the backend cannot do without one
            backend.set_basic_auth(user, password)
        if not user:
            backend.load_configs(self.get_container("any"))
        headers, _ = backend.authenticate_request(refusal, {}, refresh=True)
        return dict(headers)


class _Plain(HTTPAdapter):
    """Sends no request without TLS, also not if a redirect or the server of tokens asks for it."""

    def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:
        raise PermissionError(f"the registry leads to {urlsplit(request.url).netloc!r} without TLS")


def _first_cause(error: BaseException) -> str:
    """Return the error of the system behind one of requests, which repeats the URL, perhaps with a signature."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__


def _error(status: int) -> OSError:
    refused = 400 <= status < 500 and status not in _LATER
    kind = FileNotFoundError if status == HTTPStatus.NOT_FOUND else PermissionError if refused else OSError
    return kind(f"the registry answered {status} {responses.get(status, '')}".rstrip())
