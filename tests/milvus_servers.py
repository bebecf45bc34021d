"""Milvus servers that the tests start and stop: Milvus Lite over TCP, and the Milvus 2.3.5 of the wheel `milvus`."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

REAL_TOKEN = "root:Milvus"  # the password of a new server's first user
_ETCD_PORT = 2380
# Runs in a process of its own: stopping the server there cannot leave it running here.
_REAL = """
import socket
import sys
from milvus import MilvusServer

def try_bind(port):  # the wheel's own refuses a port whose connections have just been cut
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
        probe.listen()
    except OSError:
        return None
    return probe

server = MilvusServer()
server.config.try_bind_port = try_bind
server.set_base_dir(sys.argv[1])
server.listen_port, server.webservice_port = int(sys.argv[2]), int(sys.argv[3])
server.wait_for_started = False
server.config.set("authorization_enabled", True)
server.start()
server.wait_started(60_000)
print("ready", server.server_proc.pid, flush=True)
sys.stdin.read()
server.stop()
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


class LiteServer:
    """Milvus Lite as a server; `start` after `stop` or `kill` brings the same data to the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.options: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = Path(sys.executable).parent / "milvus-lite"
        command = [str(program), "server", "--data-dir", str(self.folder), "--host", "127.0.0.1", "--port"]
        log = (self.folder.parent / f"{self.folder.name}.log").open("ab")
        with log:
            self._process = subprocess.Popen([*command, str(self.port)], stdout=log, stderr=log)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, "the server ended at once"
            time.sleep(0.05)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        """Stop it at once, in the middle of whatever it does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, with_signal: int) -> None:
        if self._process is not None:
            self._process.send_signal(with_signal)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None


class RealServer:
    """Milvus 2.3.5, with users and passwords switched on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.options = {"token": REAL_TOKEN}
        self._process: subprocess.Popen[str] | None = None
        self._server = 0

    @staticmethod
    def skip_unless_possible() -> None:
        if importlib.util.find_spec("milvus") is None:
            pytest.skip("the real Milvus server is not installed: pip install milvus==2.3.5 (Linux x86-64, 58 MB)")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", _ETCD_PORT)) == 0:
                pytest.skip(f"another server holds port {_ETCD_PORT}, which that of a real Milvus 2.3.5 cannot change")

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _REAL, str(self.folder), str(self.port), str(free_port())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        word, _, pid = self._process.stdout.readline().partition(" ")
        assert word == "ready", "the server did not start"
        self._server = int(pid)

    def kill(self) -> None:
        """Stop it at once, in the middle of whatever it does."""
        os.kill(self._server, signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None
