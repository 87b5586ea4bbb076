"""A file behind an http or https address, by the standard library: proxies of the environment count here."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from carclf.tools.fetch.source import Answer, Passing, wait_of
from detection.common.errors import UsageError
from detection.version import __version__

TIMEOUT = 60.0  # seconds without a byte
_CHUNK = 1 << 18


class WebFile:
    """A `Source`. Raises `UsageError` for what is no such address, or holds a password."""

    def __init__(self, url: str):
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("http", "https") or any(not "!" <= letter <= "~" for letter in url):
            raise UsageError("This is no address of a file: give https://HOST/PATH, with %20 for a space.")
        if parts.username is not None:
            raise UsageError(
                f"The address on {host} holds a user or password, which others could see: download it yourself, or use "
                "a signed address."
            )
        shown = f"[{host}]" if ":" in host else host
        # Without the query: it may be a signature.
        self.name = f"{parts.scheme}://{shown}{f':{port}' if port else ''}{parts.path}"
        self.key = hashlib.sha256(url.encode()).hexdigest()[:16]
        self._url = url

    def open(self, headers: Mapping[str, str]) -> Answer:
        sent = {"Accept-Encoding": "identity", "User-Agent": f"carclf/{__version__}", **headers}
        request = urllib.request.Request(self._url, headers=sent)
        try:
            response = _opener().open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            with error:
                return self._refused(error)
        except urllib.error.URLError as error:
            raise self._unreachable(error.reason) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        return Answer(response.status, _lower(response.headers), _chunks(response), response.close)

    def _refused(self, error: urllib.error.HTTPError) -> Answer:
        status = error.code
        if status == 416:
            return Answer(416, _lower(error.headers), iter(()), lambda: None)
        if status == 429 or status == 408 or status >= 500:
            said = "the server takes no more requests for now" if status == 429 else "the server is in trouble"
            raise Passing(f"{said} (status {status})", wait_of(_lower(error.headers)))
        if status in (401, 403):
            raise UsageError(f"{self.name} is not given to you (status {status}): is the address signed, or too old?")
        if status in (404, 410):
            raise UsageError(f"There is nothing at {self.name} (status {status}): is the address right?")
        if 300 <= status < 400:
            raise UsageError(f"{self.name} leads on too often, or to what is no web address: it was not followed.")
        raise UsageError(f"{self.name} can't be fetched: the server answered with status {status}.")

    def _unreachable(self, why: object) -> Exception:
        if isinstance(why, ssl.SSLCertVerificationError):
            return UsageError(f"{self.name} can't be trusted: the certificate of the server is not valid for it.")
        return Passing(f"the server of {self.name} can't be reached")


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        target = urlsplit(newurl)
        if target.scheme != "https" and not (target.scheme == "http" and req.type == "http"):
            raise UsageError(f"The server on {req.host} leads on to an address that is not https: it was not followed.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Of http and https alone: `build_opener` would read files and FTP as well."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read(_CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException):
        raise Passing("the connection was lost") from None
