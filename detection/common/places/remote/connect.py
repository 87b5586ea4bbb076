"""The libraries that reach addresses: fsspec's file systems, set up so that faults are waited for in one place."""

from __future__ import annotations

from typing import Any

from detection.common.errors import UsageError, need
from detection.common.places.address import SCHEMES
from detection.common.places.faults import as_place_error, is_passing
from detection.common.places.remote.host_keys import known_hosts_only


def connected(address: str, scheme: str, **options: Any) -> tuple[Any, str]:
    """The file system of an address, and its path there. Raises `UsageError`, and what the libraries raise."""
    module = SCHEMES[scheme]
    if module:
        need(module, f"'{scheme}://'", extra="cloud")
    import fsspec

    if module != "paramiko":
        options["use_listings_cache"] = False
    if module == "s3fs":
        # Faults are waited for here, where they are told.
        options |= {"config_kwargs": {"retries": {"total_max_attempts": 1}, "max_pool_connections": 64}}
    elif module == "aiohttp":
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
        options |= {"client_kwargs": {"timeout": timeout, "trust_env": True}}
    elif module == "paramiko":
        options |= {"timeout": 10, "host_key_policy": known_hosts_only()}
    try:
        fs, path = fsspec.core.url_to_fs(address, **options)
    except UsageError:
        raise
    except Exception as error:
        raise error if is_passing(error) else as_place_error(error) from error
    if module == "s3fs":
        fs.retries = 1
    return fs, path
