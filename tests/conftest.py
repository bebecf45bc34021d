"""What all tests share."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from milvine import Collection
from milvine.local.building import graph_cache
from provider_server import ProviderServer, clear_environment, provider_server
from small_functions import HashedWords

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts a job in the background so, and every child would inherit it: tests that interrupt one would hang.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What takes minutes is skipped, visibly, unless it is asked for."""
    if item.get_closest_marker("slow") and os.environ.get("MILVINE_SLOW") != "1":
        pytest.skip("takes minutes; MILVINE_SLOW=1 runs it")


LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test talks to another machine from within this process; whatever tries is told that there is no network."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(LOOPBACK):
            raise OSError(f"the tests have no network: {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True, scope="session")
def _graphs_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Graphs that the tests build do not fill the user's cache."""
    folder = tmp_path_factory.mktemp("graphs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_cache, "graphs_folder", lambda: folder)
        yield


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what the machine's environment says of hosted models."""
    clear_environment(monkeypatch)


@pytest.fixture
def server(bare_environment: None) -> Iterator[ProviderServer]:
    """What providers are tested against, over HTTP."""
    with provider_server() as running:
        yield running


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with the test collections."""
    folder = os.environ.get("MILVINE_TEST_DATA")
    if not folder:
        pytest.skip("MILVINE_TEST_DATA does not name the folder with the test collections")
    return Path(folder)


@pytest.fixture(params=["kb.milvine", "kb.db"], ids=["builtin", "lite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The path of a database that is not there yet, of either store on this machine."""
    return str(tmp_path / request.param)


@pytest.fixture
def collect(database: str) -> Iterator[Callable[..., Collection]]:
    """Opens collections of that database, by default with a small function; all are closed in the end."""
    opened: list[Collection] = []

    def collect(name: str = "docs", **options: Any) -> Collection:
        options.setdefault("embedding_function", HashedWords())
        opened.append(Collection(options.pop("uri", database), name, **options))
        return opened[-1]

    yield collect
    for collection in opened:
        collection.close()


@pytest.fixture
def docs(collect: Callable[..., Collection]) -> Collection:
    """An empty collection."""
    return collect()
