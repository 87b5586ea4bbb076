"""What lies below a folder behind an address, page by page where its file system can tell it so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

PAGE = 1000  # files that a listing tells of at once


def listed(fs: Any, path: str) -> Iterator[dict[str, Any]]:
    """fsspec's facts of all files below a folder, with their full `name`, in no order.

    fsspec's own `find` gives all of them at once, more than a kilobyte per file: where the file system has a listing
    page by page, as that of S3 has, a million files take no memory.
    """
    if not hasattr(fs, "_iterdir"):
        yield from ({**info, "name": name} for name, info in fs.find(path, detail=True).items())
        return
    from fsspec.asyn import sync

    bucket, key, _ = fs.split_path(path)
    listing = fs._iterdir(bucket, delimiter="", prefix=f"{key.strip('/')}/" if key else "")
    while some := sync(fs.loop, _next_of, listing, PAGE):
        yield from some


async def _next_of(listing: AsyncIterator[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    some: list[dict[str, Any]] = []
    async for info in listing:
        some.append(info)
        if len(some) == most:
            break
    return some
