"""Local inference on this machine beside other libraries, on the same weights and texts, in the same run.

Each contender is a process of its own; they take turns round by round, so that all meet the same noise. CPU seconds
stand beside wall seconds, and beside float32 a plain matrix product of onnxruntime's, the most that the machine gives.
Before anything is timed, every contender's results are compared with milvine's.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.groups import KEYS, Agreement, Entrant, Group, make_groups
from benchmarks.machine import machine
from benchmarks.measures import (
    Result,
    Round,
    flop_of_minilm,
    flop_of_products,
    largest_difference,
    least_cosine,
    round_of,
    rows_of,
)
from benchmarks.peers import REQUIREMENTS, make_models, make_peers
from benchmarks.plot import plot
from benchmarks.process import Contender, ContenderError, Program, start_once
from benchmarks.table import print_result
from benchmarks.texts import MOST_TOKENS, TEXTS, paragraphs


@click.command()
@click.option("--only", help=f"What to measure, separated by commas: {', '.join(KEYS)}; by default all.")
@click.option("--rounds", default=5, show_default=True, help="Times that each contender takes its turn.")
@click.option("--texts", "count", default=TEXTS, show_default=True, type=click.IntRange(400), help="Paragraphs.")
@click.option("--peers", type=click.Path(path_type=Path), help="A Python that has the peers; by default one is made.")
@click.option("--json", "figures", type=click.Path(path_type=Path), help="Where to write the figures as JSON.")
@click.option("--plot", "drawing", type=click.Path(path_type=Path), help="Where to draw them, as SVG.")
def local(
    only: str | None, rounds: int, count: int, peers: Path | None, figures: Path | None, drawing: Path | None
) -> None:
    """How fast texts become vectors and scores, beside sentence-transformers, fastembed and pymilvus.model."""
    keys = [key.strip() for key in only.split(",")] if only else list(KEYS)
    if unknown := set(keys) - set(KEYS):
        raise click.UsageError(f"there is no group {', '.join(sorted(unknown))}; there are {', '.join(KEYS)}")
    python = make_peers(peers)
    minilm, splade = _folder("all-MiniLM-L6-v2"), _folder("splade-tiny")
    models = make_models(python, minilm, _folder("ms-marco-MiniLM-L-12-v2") / "tokenizer.json")
    texts, lengths = paragraphs(count)
    ran_on = machine("onnxruntime")
    click.echo(", ".join(f"{name} {value}" for name, value in ran_on.items()))
    click.echo(f"{len(texts):,} texts, {sum(lengths):,} tokens, {min(lengths)} to {max(lengths)} each")
    groups = make_groups(python, models, splade, texts, lengths)
    results, failed = [], []
    for key in keys:
        click.echo(f"\nMeasuring {key} …", err=True)
        try:
            result = _measure(groups[key], lengths, rounds)
        except ContenderError as error:
            click.echo(f"\n{key} was not measured: {error}", err=True)
            failed.append(key)
            continue
        results.append(result)
        print_result(result)
    if figures:
        peers_used = [name for names in REQUIREMENTS for name in names]
        report = {"machine": ran_on, "rounds": rounds, "peers": peers_used, "results": list(map(asdict, results))}
        figures.write_text(json.dumps(report, indent=2), encoding="utf-8")
    if drawing:
        drawing.write_text(plot(results, _caption(ran_on, rounds)), encoding="utf-8")
    if failed:
        sys.exit(1)


def _measure(group: Group, lengths: list[int], rounds: int) -> Result:
    checks: tuple[str, ...] = ()
    limit: list[float] = []
    if group.starts:
        taken = _start(group, rounds)
    else:
        checks, taken, limit = _work(group, lengths, rounds)
    return Result(
        key=group.key,
        title=group.title,
        unit=group.unit,
        longer_is_better=group.amount is not None,
        rows=rows_of(
            taken,
            {entrant.name: entrant.note for entrant in group.entrants},
            amount=group.amount,
            flop=flop_of_minilm(lengths) if limit else None,
            limit=limit,
        ),
        checks=checks,
        limit=median(limit) if limit else None,
        rounds=taken,
    )


def _start(group: Group, rounds: int) -> dict[str, list[Round]]:
    """Each contender's start in a new process; the first start, which may fill caches, is not counted."""
    taken: dict[str, list[Round]] = {entrant.name: [] for entrant in group.entrants}
    for number in range(rounds + 1):
        for entrant in group.entrants:
            seconds = start_once(entrant.program, group.calls[0])
            if number:
                taken[entrant.name].append(round_of(seconds, scale=1, each=True))
    return taken


def _work(group: Group, lengths: list[int], rounds: int) -> tuple[tuple[str, ...], dict[str, list[Round]], list[float]]:
    """What comparing results showed; each contender's rounds; and those of the matrix product, in FLOP/s."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def ready(program: Program, name: str, calls: list[list[str]]) -> Contender:
            contender = Contender(program, scratch / f"{name}.log")
            stack.callback(contender.stop)
            contender.prepare(calls)
            return contender

        contenders = {}
        for entrant in group.entrants:
            calls = [call[: entrant.inputs] for call in group.calls]
            contenders[entrant.name] = ready(entrant.program, entrant.name, calls)
        product = ready(Program("matrix_product"), "matrix product", [[]]) if group.limit else None
        checks = _compare(group, contenders, lengths, scratch)
        taken: dict[str, list[Round]] = {name: [] for name in contenders}
        limit = []
        for _ in range(rounds):
            for entrant in group.entrants:
                seconds = contenders[entrant.name].round()
                taken[entrant.name].append(round_of(seconds, scale=_scale(group, entrant), each=group.amount is None))
            if product:
                limit.append(flop_of_products() / sum(product.round().walls))
    return checks, taken, limit


def _scale(group: Group, entrant: Entrant) -> float:
    count = len(group.calls[0])
    return count / min(entrant.inputs or count, count)


def _compare(group: Group, contenders: dict[str, Contender], lengths: list[int], scratch: Path) -> tuple[str, ...]:
    """Hold every contender's results against the first one's.

    Raises:
        ContenderError: They differ by more than the group allows.
    """
    import numpy as np

    if group.agreement is None:
        return ()
    inputs = group.calls[0]
    if len(inputs) == len(lengths):  # texts of which all read everything
        inputs = [text for text, length in zip(inputs, lengths, strict=True) if length < MOST_TOKENS]
        inputs = inputs[: group.agreement.inputs]
    found: dict[str, Any] = {}
    for entrant in group.entrants:
        if entrant.is_compared:
            where = scratch / "results.npy"
            contenders[entrant.name].results(inputs, where)
            found[entrant.name] = np.load(where)
    first, *others = found
    return tuple(_verdict(group.agreement, name, found[first], found[name]) for name in others)


def _verdict(agreement: Agreement, name: str, ours: Any, theirs: Any) -> str:
    if ours.shape != theirs.shape:
        raise ContenderError(f"{name} gave results of shape {theirs.shape}, and milvine of {ours.shape}")
    if agreement.cosine is not None:
        cosine = least_cosine(ours, theirs)
        fits, seen = cosine >= agreement.cosine, f"cosine at least {cosine:.6f}"
    else:
        difference = largest_difference(ours, theirs)
        fits, seen = difference <= (agreement.difference or 0), f"scores differ by at most {difference:.1e}"
    if not fits:
        raise ContenderError(f"{name} does not do the same as the first contender: {seen}, on {len(ours)} inputs")
    return f"{name}: {seen} ({len(ours)} inputs)"


def _folder(name: str) -> Path:
    """Where the files of a model of the catalogue lie, fetched if need be."""
    from milvine.local.finding.catalogue import find
    from milvine.local.finding.files import fetch_model

    return fetch_model(find(name))["tokenizer.json"].parent


def _caption(ran_on: dict[str, str], rounds: int) -> str:
    peers = {name.partition("==")[0]: name.partition("==")[2] for names in REQUIREMENTS for name in names}
    used = ", ".join(f"{name} {peers[name]}" for name in ("sentence-transformers", "fastembed", "pymilvus.model"))
    return f"{ran_on['cores']} cores of {ran_on['processor']}; medians of {rounds} interleaved rounds; {used}"
