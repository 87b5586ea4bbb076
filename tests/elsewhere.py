r"""Commands in one process that lacks what only Linux, or only Linux and macOS have; JSON on stdin says which.

`python -m tests.elsewhere < {"commands": [["clean", "in", "out"], ...], "spawn": true, "fake": true}`. Each must end
with exit code 0 or 3. spawn: the start method of processes, as on Windows and macOS. fake: the detector is the fake.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys

MODULES = ("fcntl", "resource", "pwd", "grp", "syslog")
# Windows lacks more of each; what is not here, the libraries need on the Linux that they run on.
OF_OS = (
    *("fork", "forkpty", "register_at_fork", "statvfs", "fstatvfs", "sched_getaffinity", "sched_setaffinity"),
    *("getuid", "geteuid", "getgid", "getegid", "killpg", "setsid", "pread", "pwrite", "mkfifo", "chown", "nice"),
    *("sysconf", "getloadavg", "sync", "fdatasync", "O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK"),
)
SIGNALS = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGKILL", "SIGALRM", "SIGQUIT", "setitimer", "pthread_sigmask")


def take_away(keep: tuple[str, ...] = ()) -> None:
    for name in MODULES:
        sys.modules[name] = None
    for where, names in ((os, OF_OS), (signal, SIGNALS)):
        for name in names:
            if name not in keep and hasattr(where, name):
                delattr(where, name)

    def refuse(opened, *rest, real=os.open, **named):
        if str(opened).startswith(("/dev/shm", "/proc")):
            raise FileNotFoundError(2, "No such file or directory", str(opened))
        return real(opened, *rest, **named)

    os.open = refuse


def stand_in() -> None:
    import carclf.recognition.loading
    import detection.detectors.load
    from tests.fakes import FakeDetector

    carclf.recognition.loading._load_detector = lambda *_: FakeDetector()
    detection.detectors.load.load_detector = lambda *_, **__: FakeDetector()


def main() -> None:
    wanted = json.load(sys.stdin)
    if wanted.get("spawn"):
        multiprocessing.set_start_method("spawn")
    if wanted.get("take", True):
        take_away(tuple(wanted.get("keep", ())))
    if wanted.get("fake"):
        stand_in()
    from carclf.cli import app

    for command in wanted["commands"]:
        try:
            app(command, prog_name="carclf")
        except SystemExit as end:
            if end.code not in (0, 3):
                sys.exit(f"{command} ended with {end.code}")


if __name__ == "__main__":
    main()
