"""A RabbitMQ server for the tests: a node of its own on this machine's loopback interface, gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

START = 90.0  # seconds: Erlang is slow to start on a busy machine
# Debian's command changes to another user first, who has no rights in our folders; this is what it calls.
SCRIPTS = ("/usr/lib/rabbitmq/bin/rabbitmq-server",)


class Server:
    """Started, stopped and started again with the same folders: what was kept on disk is there again."""

    def __init__(self, folder: Path, script: str, tls: Path | None = None):
        self.folder = folder
        self.port, self.tls_port, dist, epmd = _free_ports(4)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self._script = script
        self._process: subprocess.Popen | None = None
        for name in ("mnesia", "log"):
            (folder / name).mkdir()
        (folder / "enabled_plugins").write_text("[].\n")
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}", "loopback_users = none"]
        if tls is not None:
            lines += [
                f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
                f"ssl_options.certfile = {tls / 'cert.pem'}",
                f"ssl_options.keyfile = {tls / 'key.pem'}",
            ]
        (folder / "rabbit.conf").write_text("\n".join(lines) + "\n")
        self._environment = os.environ | {
            "HOME": str(folder),  # for its cookie
            "RABBITMQ_NODENAME": f"carclf-{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbit"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",  # it can be ended though it believes that the node still lives
        }

    def start(self) -> None:
        log = (self.folder / "output.log").open("ab")
        self._process = subprocess.Popen(
            [self._script], env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
            start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + START
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            if _answers(self.port):
                return
            time.sleep(0.2)
        self.stop()
        raise RuntimeError("\n".join((self.folder / "output.log").read_text(errors="replace").splitlines()[-5:]))

    def control(self, *arguments: str) -> None:
        """As `rabbitmqctl` does."""
        command = [str(Path(self._script).with_name("rabbitmqctl")), "-n", self._environment["RABBITMQ_NODENAME"]]
        subprocess.run([*command, *arguments], env=self._environment, capture_output=True, timeout=60, check=True)

    def stop(self) -> None:
        """As if the machine lost power."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def end(self) -> None:
        self.stop()
        if epmd := shutil.which("epmd"):  # Erlang's name server, which the node has started
            subprocess.run([epmd, "-kill"], env=self._environment, capture_output=True, timeout=20, check=False)


def start_server(folder: Path, tls: Path | None = None) -> Server:
    """Skips the test, with a reason, where there is no RabbitMQ or it does not run."""
    command = shutil.which("rabbitmq-server")
    if command is None:
        pytest.skip(
            "no RabbitMQ: there is no command rabbitmq-server (Debian, Ubuntu: apt-get install rabbitmq-server)"
        )
    script = next((script for script in SCRIPTS if os.access(script, os.X_OK)), command)
    server = Server(folder, script, tls)
    try:
        server.start()
    except RuntimeError as error:
        server.end()
        pytest.skip(f"RabbitMQ is installed but does not start: {error}")
    return server


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _answers(port: int) -> bool:
    """Whether it speaks AMQP: it greets a client that sends the protocol's header."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(5)
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(connection.recv(1))
    except OSError:
        return False
