"""Web apps of ours that listen on a port of this machine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from carclf.service.settings import ServiceSettings


@contextmanager
def listening(app: Any, settings: ServiceSettings) -> Iterator[str]:
    """Serves an ASGI app from a thread, by the house's own server settings; gives its address, without a slash."""
    import uvicorn

    from carclf.service.web.door import server_config

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(server_config(app, settings))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
