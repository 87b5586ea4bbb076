"""Which SSH servers are trusted: those that the user's known_hosts names, as for `ssh` itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from detection.common.errors import UsageError

FILES = (Path("~/.ssh/known_hosts"), Path("/etc/ssh/ssh_known_hosts"))


def known_hosts_only() -> Any:
    """A policy for paramiko that refuses every server that is not known: fsspec's own one trusts whoever answers.

    It raises `UsageError` with what to do.
    """
    import paramiko

    class KnownHosts(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
            for file in FILES:
                known = paramiko.HostKeys()
                if os.access(path := file.expanduser(), os.R_OK):
                    known.load(str(path))
                if known.check(hostname, key):
                    return
            plain, _, port = hostname.lstrip("[").partition("]:")
            again = f"ssh -p {port} {plain}" if port else f"ssh {plain}"
            raise UsageError(
                f"The SSH server '{hostname}' is not in ~/.ssh/known_hosts with its {key.get_name()} key: "
                f"run `{again}` once, and look at the key before you accept it."
            )

    return KnownHosts()
