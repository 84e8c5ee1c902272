"""A verifier behind HTTP: a list of questions is posted as JSON, a list of 0 and 1 comes back."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3

from suite.errors import UserError, VerifierError, printable
from suite.verifiers.remote import Remote, Request, Unreachable, reason
from suite.verifiers.settings import from_environment, variable

TRY_AGAIN = (408, 425, 429)
"""Statuses of requests that may be made again, beside those from 500 on."""


class Http(Remote):
    """A service at an address.

    A request is `POST URL` with the header `Idempotency-Key`, the sha256 of its body: a service that keeps its answers
    by it does no work twice where an answer was lost on the way. A connection is kept from request to request. A status
    of 408, 425, 429 or from 500 on, a connection that breaks and a timeout are tried again.

    Args:
        url: of the service, with `user:password@` where it wants them; SUITE_NAME_URL overrules it.
        headers: of every request, `{"Authorization": …}`: take secrets from the environment, not from the file.
        name, settings: as in :class:`Remote`.
    """

    def __init__(
        self, url: str = "", *, headers: Mapping[str, str] | None = None, name: str = "verifier", **settings: Any
    ) -> None:
        super().__init__(name, **settings)
        self._url = url
        self._headers = dict(headers or {})

    @property
    def url(self) -> str:
        """The address that is asked.

        Raises:
            UserError: there is none, or it is none of HTTP.
        """
        url = from_environment(self.name, "url") or self._url
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise UserError(f"a verifier's address must be http://… or https://…, got {url!r}; set "
                            f"{variable(self.name, 'url')}")  # fmt: skip
        return url

    @property
    def place(self) -> str:
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

    @functools.cached_property
    def _pool(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(maxsize=self.settings.overruled(self.name).concurrency)

    def connect(self) -> _Connection:
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
        headers = {**urllib3.make_headers(basic_auth=login), **self._headers}
        return _Connection(self._pool, parts._replace(netloc=host).geturl(), self.place, headers)


class _Connection:
    def __init__(self, pool: urllib3.PoolManager, url: str, place: str, headers: Mapping[str, str]) -> None:
        self._pool, self._url, self._place, self._headers = pool, url, place, headers

    def ask(self, request: Request, timeout: float) -> object:
        headers = {"Content-Type": "application/json", "Idempotency-Key": request.key, **self._headers}
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=request.body,
                headers=headers,
                timeout=urllib3.Timeout(total=timeout),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(reason(error)) from error
        if response.status in TRY_AGAIN or response.status >= 500:
            raise Unreachable(f"HTTP {response.status}")
        if response.status != 200:
            said = printable(response.data[:200].decode(errors="replace"))
            raise VerifierError(f"{self._place} answered HTTP {response.status}: {said}")
        try:
            return json.loads(response.data)
        except ValueError as error:
            raise VerifierError(f"{self._place} answered no JSON: {error}") from None

    def close(self) -> None:
        """The pool keeps the connection for the next batch."""
