"""A server that speaks OpenAI's `/v1/embeddings`: late, limited and unreliable as it is told to be, and it counts.

`python -m benchmarks.hosted_server CONDITIONS` prints the port of a server that runs until its standard input ends.
`GET /stats` gives what has happened since it was last asked, and begins anew.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DIM = 1536
_FAILURES = ("429", "500", "503", "reset", "half a body")


@dataclass(frozen=True)
class Conditions:
    """What requests meet.

    Attributes:
        latency: Seconds before each answer.
        failures: Which share of the requests fails, by one of HTTP 429, 500 and 503, a reset, and half a body.
        limit: Requests that are accepted at once; a bucket of so many is filled again evenly. 0 is no limit.
        seconds: How long it takes to fill.
    """

    latency: float = 0.1
    failures: float = 0.0
    limit: int = 0
    seconds: float = 60.0


@dataclass
class Stats:
    """What has happened.

    Attributes:
        requests: Requests that arrived.
        refused: Those of them that were beyond the limit.
        failed: Those of them that were made to fail.
        texts: Texts whose vectors were sent, counted as often as they were.
        distinct: Different texts among them.
        received: Vectors that the client says it got.
    """

    requests: int = 0
    refused: int = 0
    failed: int = 0
    texts: int = 0
    distinct: int = 0
    received: int = 0


def vector_bytes(text: str) -> bytes:
    """The vector of a text: little-endian float32, of shape `(DIM,)`, made of the bytes of its hash."""
    values = hashlib.sha256(text.encode()).digest() * (DIM // 32)
    return struct.pack(f"<{DIM}f", *values)


class RunningServer:
    """The server, in a process of its own."""

    def __init__(self, conditions: Conditions) -> None:
        command = [sys.executable, "-m", "benchmarks.hosted_server", json.dumps(asdict(conditions))]
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._root = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self.base_url = self._root + "/v1"

    def stats(self) -> Stats:
        """What has happened since this was last asked."""
        with urllib.request.urlopen(self._root + "/stats") as answer:
            return Stats(**json.load(answer))

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()


class _Server:
    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._random = random.Random(0)
        self._left, self._at = float(conditions.limit), time.monotonic()
        self._vectors: dict[str, str] = {}
        self._begin()

    def _begin(self) -> None:
        self._stats = Stats()
        self._sent: set[str] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection."""
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or this server goes
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.lower().split("\r\n")
        size = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
        body = await reader.readexactly(size)
        path = head.split(" ", 2)[1]
        if path == "/stats":
            self._stats.distinct = len(self._sent)
            self._send(writer, 200, asdict(self._stats))
            self._begin()
            return True
        if path.startswith("/received/"):
            self._stats.received += int(path.rpartition("/")[2])
            self._send(writer, 200, {})
            return True
        self._stats.requests += 1
        told = self._take()
        failure = self._random.choice(_FAILURES) if self._random.random() < self._conditions.failures else ""
        await asyncio.sleep(self._conditions.latency)
        if "Retry-After" in told:
            self._stats.refused += 1
            self._send(writer, 429, {"error": {"message": "Rate limit reached.", "code": "rate_limit_exceeded"}}, told)
            return True
        self._stats.failed += bool(failure)
        if failure == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        if failure.isdigit():
            self._send(writer, int(failure), {"error": {"message": "This one fails."}}, told)
            return True
        texts = json.loads(body)["input"]
        answer = self._embed(texts)
        if failure:
            self._send(writer, 200, answer, told, half=True)
            return False
        self._stats.texts += len(texts)
        self._sent.update(texts)
        self._send(writer, 200, answer, told)
        await writer.drain()
        return True

    def _take(self) -> dict[str, str]:
        """Take a request out of the bucket, and say what the headers say; with `Retry-After` if there is none left."""
        limit, seconds = self._conditions.limit, self._conditions.seconds
        if not limit:
            return {}
        now = time.monotonic()
        self._left = min(limit, self._left + (now - self._at) * limit / seconds)
        self._at = now
        told = {}
        if self._left < 1:
            told["Retry-After"] = f"{(1 - self._left) * seconds / limit:.3f}"
        else:
            self._left -= 1
        return {
            "x-ratelimit-limit-requests": str(limit),
            "x-ratelimit-remaining-requests": str(int(self._left)),
            "x-ratelimit-reset-requests": f"{(limit - self._left) * seconds / limit:.3f}s",
            **told,
        }

    def _embed(self, texts: list[str]) -> dict[str, Any]:
        data = []
        for index, text in enumerate(texts):
            if text not in self._vectors:
                self._vectors[text] = base64.b64encode(vector_bytes(text)).decode()
            data.append({"object": "embedding", "index": index, "embedding": self._vectors[text]})
        tokens = sum(map(len, texts)) // 4
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "model": "benchmark", "data": data, "usage": usage}

    def _send(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        answer: Any,
        headers: dict[str, str] | None = None,
        *,
        half: bool = False,
    ) -> None:
        body = json.dumps(answer).encode()
        lines = [f"HTTP/1.1 {status} ", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + (body[: len(body) // 2] if half else body))


async def _main(conditions: Conditions) -> None:
    server = await asyncio.start_server(_Server(conditions).serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(Conditions(**json.loads(sys.argv[1]))))
