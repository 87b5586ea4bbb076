"""Addresses of places as text: which texts are one, and how one is shown without the secrets in it."""

from __future__ import annotations

import os
import re

# scheme -> the module that fsspec needs for it, and how the scheme is called.
SCHEMES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "sftp": "paramiko",
    "ssh": "paramiko",
    "memory": "",
}
WEB = ("http", "https")
# A `Path` of an address has lost a slash, and has backslashes on Windows.
_ADDRESS = re.compile(rf"({'|'.join(SCHEMES)}):[/\\]{{1,2}}(?=[^/\\])", re.IGNORECASE)
_OTHER = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/@\s'\"]+@")
# Parts of a query that open a door: of presigned addresses of S3, Google and Azure, and of common services.
_QUERY = re.compile(
    r"(?<=[?&])((?:x-(?:amz|goog)-[a-z-]+|sig|signature|token|access_?token|key|api_?key|secret|password|awsaccesskeyid"
    r"|googleaccessid|policy|key-pair-id|se|sp|sv|sr|st|spr|skoid|sktid|ske|sks|skt|skv|expires)=)[^&#\s'\"]*",
    re.IGNORECASE,
)
_HIDDEN = "***"
# Variables whose values are secrets; a library's message may repeat one.
_SECRETS = re.compile(r"(SECRET|TOKEN|PASSWORD|PASSWD|ACCOUNT_KEY|CONNECTION_STRING|SAS|ACCESS_KEY)", re.IGNORECASE)
_SHORTEST_SECRET = 8


def scheme_of(text: str) -> str:
    """The scheme of an address in lower case, empty for any other text.

    >>> scheme_of("s3://bucket/photos"), scheme_of("photos/s3"), scheme_of("C:/photos")
    ('s3', '', '')
    """
    found = _ADDRESS.match(text)
    return found[1].lower() if found else ""


def unknown_scheme(text: str) -> str:
    """The scheme of an address that nobody here can open; empty for a known one, and for a path."""
    found = _OTHER.match(text)
    return found[1] if found and not scheme_of(text) else ""


def restored(text: str) -> str:
    r"""An address with both slashes, though it came as a `Path`.

    >>> restored("s3:/bucket/a"), restored("https:\\host\\a"), restored("photos/a")
    ('s3://bucket/a', 'https://host/a', 'photos/a')
    """
    found = _ADDRESS.match(text)
    if not found:
        return text
    rest = text[found.end() :]
    if "\\" in found[0] or (os.name == "nt" and "/" not in rest):
        rest = rest.replace("\\", "/")
    return f"{found[1].lower()}://{rest}"


def without_secrets(text: str) -> str:
    """A text that may be shown and written: user names, passwords and signatures in addresses are left out.

    >>> without_secrets("no sftp://me:pass@host/a, nor https://host/b?page=2&X-Amz-Signature=1f")
    'no sftp://host/a, nor https://host/b?page=2&X-Amz-Signature=***'
    """
    if "://" in text:
        text = _QUERY.sub(rf"\1{_HIDDEN}", _USER.sub("", text))
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and value in text and _SECRETS.search(name):
            text = text.replace(value, _HIDDEN)
    return text


def joined(root: str, key: str) -> str:
    return f"{root.rstrip('/')}/{key}" if key else root
