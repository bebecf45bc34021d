"""Who does what a job says: threads, or tasks of an event loop. Nothing is decided here."""

from __future__ import annotations

import asyncio
import math
import queue
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from milvine.hosted._failures import Failure
from milvine.hosted.answers import Answer
from milvine.hosted.jobs import Job, Send, Unit

if TYPE_CHECKING:
    from milvine.hosted.client import HostedClient
    from milvine.hosted.tasks import Task

__all__ = ["run_in_loop", "run_in_threads"]

Result = TypeVar("Result")

_PATIENCE: Final = 0.5
"""Seconds in which the threads of a call that was broken off must end. One that waits for a connection, which cannot
be broken off, ends with its timeout."""


def run_in_threads(client: HostedClient, job: Job[Result]) -> Generator[tuple[Task[Result], Result], None, None]:
    """Does a job with as many threads as it has requests under way, and gives what is done, in order."""
    crew = _Crew(client, job)
    with client.call(crew.wake) as is_alone:
        try:
            while True:
                yield from job.results()
                client.check_open()
                step = job.step(time.monotonic())
                if step is None:
                    break
                if not isinstance(step, Send):
                    crew.wait(step.until)
                elif step.alone and client.deadline is None:
                    job.done(step.unit, client.send(step.unit), time.monotonic())
                    client.wake(but=crew.wake)
                else:
                    crew.send(step.unit)
            job.close()
        except Exception:
            crew.dismiss(break_off=is_alone())
            raise
        except BaseException:  # Ctrl-C, or the program ends: nobody waits for an answer
            crew.dismiss(break_off=True)
            raise
        else:
            crew.dismiss(break_off=False)
        finally:
            job.abandon(time.monotonic())
            client.wake(but=crew.wake)


class _Crew:
    """The threads of one call. They are started as they are needed, and have ended when the call has."""

    def __init__(self, client: HostedClient, job: Job[Any]) -> None:
        self._client = client
        self._job = job
        self._threads: list[threading.Thread] = []
        self._orders: queue.SimpleQueue[Unit[Any] | None] = queue.SimpleQueue()
        self._news: queue.SimpleQueue[tuple[Unit[Any], Answer | Failure | BaseException] | None] = queue.SimpleQueue()
        self._busy = 0

    def send(self, unit: Unit[Any]) -> None:
        """Lets a thread that is free send this, or a new one."""
        self._busy += 1
        if self._busy > len(self._threads):
            thread = threading.Thread(target=self._work, name="milvine-request", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._orders.put(unit)

    def wait(self, until: float) -> None:
        """Waits for a request to come back, or for the time, or to be woken."""
        seconds = None if math.isinf(until) else max(0.0, until - time.monotonic())
        with suppress(queue.Empty):
            news = self._news.get(timeout=seconds)
            if news is None:
                return
            self._busy -= 1
            unit, outcome = news
            if isinstance(outcome, BaseException):
                raise outcome
            self._job.done(unit, outcome, time.monotonic())

    def wake(self) -> None:
        """Ends a wait."""
        self._news.put(None)

    def dismiss(self, *, break_off: bool) -> None:
        """Lets the threads end; with `break_off`, whatever they wait for."""
        if break_off:
            with suppress(queue.Empty):
                while True:
                    self._orders.get_nowait()  # no thread has taken it up
        for _ in self._threads:
            self._orders.put(None)
        if self._busy and not break_off:
            return
        end = time.monotonic() + _PATIENCE
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < end:
            if self._busy:
                self._client.sockets.shut()  # again and again: a connection may be made just now
            for thread in self._threads:
                thread.join(_PATIENCE / 50)

    def _work(self) -> None:
        while (unit := self._orders.get()) is not None:
            try:
                outcome = self._client.send(unit)
                self._job.landed(unit, outcome, time.monotonic())
                self._client.wake(but=self.wake)
                self._news.put((unit, outcome))
            except BaseException as error:  # noqa: BLE001, PERF203 - raised in the thread that called
                self._news.put((unit, error))


async def run_in_loop(client: HostedClient, job: Job[Result]) -> AsyncGenerator[tuple[Task[Result], Result], None]:
    """Does a job with a task for each request under way, and gives what is done, in order."""
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    under_way: set[asyncio.Task[None]] = set()
    errors: list[BaseException] = []

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(news.set)

    async def send(unit: Unit[Any]) -> None:
        try:
            job.done(unit, await client.asend(unit), time.monotonic())
            client.wake(but=wake)
        except Exception as error:  # noqa: BLE001 - raised again in the task that called
            errors.append(error)
        finally:
            news.set()

    with client.call(wake):
        try:
            while True:
                for result in job.results():
                    yield result
                client.check_open()
                if errors:
                    raise errors[0]
                step = job.step(time.monotonic())
                if step is None:
                    break
                if isinstance(step, Send):
                    task = loop.create_task(send(step.unit))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                    continue
                seconds = None if math.isinf(step.until) else max(0.0, step.until - time.monotonic())
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(news.wait(), seconds)
                news.clear()
            job.close()
        finally:
            job.abandon(time.monotonic())
            client.wake(but=wake)
            for task in list(under_way):
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
