from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError, ModelError
from milvine.local.building.graph import Graph
from milvine.local.running.engine import BATCH_TOKENS, WINDOW, Engine, default_threads, session_options
from milvine.local.running.tokenizer import Tokens

KNOWN = 50


def make_session(*extra_inputs: str, without_mask: bool = False) -> Any:
    """A model that gives a sequence's [sum of its ids, length]; id 49 is NaN to it, and ids from 50 make it fail."""
    table = np.arange(KNOWN, dtype=np.float32).reshape(-1, 1)
    table[-1] = np.nan
    g = Graph({"table": table})
    ids = g.input("input_ids", ["batch", "length"])
    mask = ids if without_mask else g.input("attention_mask", ["batch", "length"])
    values = g.op("Squeeze", g.op("Gather", g.weight("table", (KNOWN, 1)), ids), g.ints(2))
    counts = g.op("Cast", mask, to=1)
    for name in extra_inputs:
        values = g.op("Add", values, g.op("Mul", g.number(100.0), g.op("Cast", g.input(name, ["b", "l"]), to=1)))
    columns = [g.op("ReduceSum", each, g.ints(1)) for each in (g.op("Mul", values, counts), counts)]
    g.output("rows", g.op("Concat", *columns, axis=1), ["batch", 2])
    return g.session(session_options(), ["CPUExecutionProvider"])


class Recording:
    """A session that remembers the shape of each batch and how many ran at once, and may take longer for each."""

    def __init__(self, session: Any, seconds: float = 0) -> None:
        self.session, self.seconds, self.lock = session, seconds, threading.Lock()
        self.shapes: list[tuple[int, int]] = []
        self.running = self.most = 0

    def get_inputs(self) -> Any:
        return self.session.get_inputs()

    def get_outputs(self) -> Any:
        return self.session.get_outputs()

    def run(self, outputs: list[str], feed: dict[str, Any]) -> Any:
        with self.lock:
            self.shapes.append(feed["input_ids"].shape)
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            time.sleep(self.seconds)
            return self.session.run(outputs, feed)
        finally:
            with self.lock:
                self.running -= 1


def opened(session: Any) -> Callable[[int], Any]:
    """What opens sessions, where there is one for all numbers of threads."""
    return lambda _: session


def by_number(texts: Sequence[str]) -> list[Tokens]:
    """The text "3 7" is three times the token 7."""
    pairs = [map(int, text.split()) for text in texts]
    return [Tokens([token] * count, [1] * count) for count, token in pairs]


def random_texts(number: int, longest: int = 40) -> tuple[list[str], np.ndarray[Any, Any]]:
    random = np.random.RandomState(number)
    counts, tokens = random.randint(1, longest + 1, number), random.randint(0, KNOWN - 1, number)
    texts = [f"{count} {token}" for count, token in zip(counts, tokens, strict=True)]
    return texts, np.stack([counts * tokens, counts], axis=1).astype(np.float32)


@pytest.mark.parametrize("number", [1, 2, 3, 100, WINDOW, WINDOW + 1, 2 * WINDOW + 77])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_row_lands_at_its_texts_place(number: int, threads: int) -> None:
    texts, expected = random_texts(number)
    rows = Engine(opened(make_session()), {"rows": 2}, threads=threads).run(texts, by_number)
    np.testing.assert_array_equal(rows, expected)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous


def test_nothing_gives_no_rows() -> None:
    assert Engine(opened(make_session()), {"rows": 2}).run([], by_number).shape == (0, 2)


def test_batches_keep_their_budget_and_hardly_any_padding() -> None:
    texts, expected = random_texts(WINDOW, longest=80)
    session = Recording(make_session())
    np.testing.assert_array_equal(Engine(opened(session), {"rows": 2}, threads=1).run(texts, by_number), expected)
    assert all(count * length <= BATCH_TOKENS for count, length in session.shapes)
    lengths = [length for _, length in session.shapes]
    assert lengths == sorted(lengths, reverse=True)  # no long batch ends the work alone
    run, needed = sum(count * length for count, length in session.shapes), expected[:, 1].sum()
    assert run < 1.03 * needed
    assert len(session.shapes) < 1.1 * needed / BATCH_TOKENS + 1


def test_a_sequence_above_the_budget_runs_alone_and_a_budget_of_one_runs_all_alone() -> None:
    session = Recording(make_session())
    Engine(opened(session), {"rows": 2}, batch_tokens=10, threads=1).run(["30 1", "4 1", "5 1", "2 2"], by_number)
    assert session.shapes == [(1, 30), (2, 5), (1, 2)]
    session.shapes.clear()
    Engine(opened(session), {"rows": 2}, batch_tokens=1, threads=1).run(["3 1", "3 2", "1 1"], by_number)
    assert session.shapes == [(1, 3), (1, 3), (1, 1)]


def test_no_more_batches_run_at_once_than_there_are_threads() -> None:
    texts, _ = random_texts(400)
    for threads in (1, 2):
        session = Recording(make_session())
        Engine(opened(session), {"rows": 2}, batch_tokens=1, threads=threads).run(texts, by_number)
        assert 1 <= session.most <= threads


def test_a_lone_batch_runs_on_all_threads_and_several_on_one_each() -> None:
    opened_for: list[int] = []

    def open_session(threads: int) -> Any:
        opened_for.append(threads)
        return make_session()

    engine = Engine(open_session, {"rows": 2}, threads=3)
    engine.run([], by_number)
    assert opened_for == []
    engine.run(["3 1"], by_number)
    engine.run(["3 1", "4 2"], by_number)
    alone = min(3, default_threads())
    assert opened_for == [alone]
    for _ in range(2):
        engine.run(["300 1", "400 2"], by_number)
    assert opened_for == list(dict.fromkeys([alone, 1]))


def test_a_lone_batch_never_runs_on_more_threads_than_there_are_processors() -> None:
    # Where there are two, a query on 500 threads, which spin as they wait for each other, took 21 seconds.
    opened_for: list[int] = []

    def open_session(threads: int) -> Any:
        opened_for.append(threads)
        return make_session()

    Engine(open_session, {"rows": 2}, threads=100_000).run(["3 1"], by_number)
    assert opened_for == [default_threads()]


def test_what_a_store_raises_ends_the_work_and_a_model_may_run_within_it() -> None:
    engine = Engine(opened(make_session()), {"rows": 2}, threads=2, batch_tokens=40)
    texts, expected = random_texts(50)
    inner: list[Any] = []
    engine.each(texts, by_number, lambda *_: inner.append(engine.run(texts, by_number)))
    assert len(inner) > 2
    assert all(np.array_equal(rows, expected) for rows in inner)

    def store(*_: Any) -> None:
        raise OSError("no space")

    for some in (texts, texts[:1]):
        with pytest.raises(OSError, match="no space"):
            engine.each(some, by_number, store)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("milvine")]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")
def test_an_interrupt_ends_the_work_within_a_batch_and_the_engine_serves_on() -> None:
    texts, expected = random_texts(400)
    session = Recording(make_session(), seconds=0.01)
    engine = Engine(opened(session), {"rows": 2}, threads=2, batch_tokens=1)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            engine.run(texts, by_number)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert session.running == 0
    assert 0 < len(session.shapes) < 400
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("milvine")]
    session.seconds = 0
    np.testing.assert_array_equal(engine.run(texts, by_number), expected)


@pytest.mark.parametrize("texts", [["3 1"], ["300 1"] * 9])
def test_large_weights_are_held_once(texts: list[str]) -> None:
    sessions: list[Recording] = []

    def open_session(threads: int) -> Any:
        sessions.append(Recording(make_session(), seconds=0.002))
        return sessions[-1]

    engine = Engine(open_session, {"rows": 2}, threads=3, is_large=True)
    for each in (texts, ["5 1"], ["300 1"] * 9):
        engine.run(each, by_number)
    (session,) = sessions
    # One that was opened to run a batch on three threads runs one batch at a time.
    assert (session.most == 1) == (len(texts) == 1 and default_threads() > 1)


def test_one_engine_serves_several_threads() -> None:
    engine = Engine(opened(make_session()), {"rows": 2}, threads=2)
    results: dict[int, bool] = {}

    def work(number: int) -> None:
        texts, expected = random_texts(300 + number)
        results[number] = all(np.array_equal(engine.run(texts, by_number), expected) for _ in range(5))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == dict.fromkeys(range(4), True)


def test_type_ids_are_fed_to_a_model_that_wants_them() -> None:
    rows = Engine(opened(make_session("token_type_ids")), {"rows": 2}).run(["3 7", "1 2"], by_number)
    np.testing.assert_array_equal(rows, [[321, 3], [102, 1]])  # by_number says type 1, which counts 100 a token


@pytest.mark.parametrize("number", [1, 400])
def test_damage_and_failure_are_errors_of_ours_and_end_the_work(number: int) -> None:
    texts, _ = random_texts(number)
    session = Recording(make_session(), seconds=0.005)
    engine = Engine(opened(session), {"rows": 2}, batch_tokens=1, threads=2)
    for bad, says in (("90 49", "NaN or infinity"), ("90 50", r"fails on 1 texts of up to 90 tokens: .*indices")):
        with pytest.raises(ModelError, match=says):
            engine.run([*texts[1:], bad], by_number)  # the longest, so it runs first
    assert len(session.shapes) <= max(2, number)  # of twice that number: the rest was not begun
    with pytest.raises(ModelError, match=r"output of shape \(1, 2\), not \(1, 3\)"):
        Engine(opened(session), {"rows": 3}).run(texts[:1], by_number)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("milvine")]


def test_a_failing_tokenizer_ends_the_work() -> None:
    def tokenize(texts: Sequence[str]) -> list[Tokens]:
        if len(texts) < WINDOW:
            raise InputError("no tokens")
        return by_number(texts)

    with pytest.raises(InputError, match="no tokens"):
        Engine(opened(make_session()), {"rows": 2}).run(random_texts(WINDOW + 5)[0], tokenize)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("milvine")]


@pytest.mark.parametrize(
    ("session", "says"),
    [
        (lambda: make_session("position_ids"), "inputs are attention_mask, input_ids, position_ids; they must be"),
        (lambda: make_session(without_mask=True), "inputs are input_ids; they must be input_ids, attention_mask and"),
    ],
)
def test_a_model_with_other_inputs_is_refused(session: Any, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        Engine(opened(session()), {"rows": 2}).run(["1 1"], by_number)


@pytest.mark.parametrize("name", ["threads", "batch_tokens"])
def test_counts_must_be_whole_numbers_from_one(name: str) -> None:
    session: Any = make_session()
    for value in (0, -1):
        with pytest.raises(InputError, match=f"{name} must be at least 1, not {value}"):
            Engine(opened(session), {"rows": 2}, **{name: value})
    for wrong in (2.0, "2", True):
        with pytest.raises(
            InputTypeError, match=re.escape(f"{name} must be a whole number, not {type(wrong).__name__}")
        ):
            Engine(opened(session), {"rows": 2}, **{name: wrong})  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity to set")
def test_the_default_number_of_threads_is_that_of_the_processors_it_may_use() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});from milvine.local.running.engine import *;"
    )
    done = subprocess.run([sys.executable, "-c", script + "print(default_threads())"], capture_output=True, text=True)
    assert done.stdout.strip() == "1"
