"""A hosted model's client against a server that is slow, fails and keeps a limit, beside clients that ask in a loop."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import click

from benchmarks.hosted_server import Conditions, RunningServer, Stats
from benchmarks.machine import machine
from benchmarks.passages import passages
from benchmarks.peers import HOSTED_REQUIREMENTS, make_peers
from benchmarks.process import WARM_UP, Contender, Program, Seconds
from benchmarks.table import print_table

TEXTS = 10_000
BATCH = 50
CONCURRENCY = 8
SCENARIOS = {
    "latency": Conditions(),
    "failures": Conditions(failures=0.1),
    "limit": Conditions(limit=60, seconds=12),
    "all": Conditions(failures=0.1, limit=60, seconds=12),
}


@dataclass(frozen=True)
class Run:
    """One contender's round."""

    seconds: Seconds
    stats: Stats


@click.command()
@click.option("--only", help=f"What to measure, separated by commas: {', '.join(SCENARIOS)}; by default all of them.")
@click.option("--rounds", default=3, show_default=True, help="Times that each contender takes its turn.")
@click.option("--texts", "count", default=TEXTS, show_default=True, type=click.IntRange(WARM_UP), help="Texts.")
@click.option("--peers", type=click.Path(path_type=Path), help="A Python that has the peers; by default one is made.")
@click.option("--json", "figures", type=click.Path(path_type=Path), help="Where to write the figures as JSON.")
def hosted(only: str | None, rounds: int, count: int, peers: Path | None, figures: Path | None) -> None:
    """How fast, and with how many requests, texts become vectors over HTTP, beside clients that ask in a loop."""
    keys = [key.strip() for key in only.split(",")] if only else list(SCENARIOS)
    if unknown := set(keys) - set(SCENARIOS):
        raise click.UsageError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    python = make_peers(peers, "hosted-peers", HOSTED_REQUIREMENTS)
    ran_on = machine("httpx", "numpy")
    click.echo(", ".join(f"{name} {value}" for name, value in ran_on.items()))
    texts = passages(count)
    report = {}
    for key in keys:
        runs = measure(SCENARIOS[key], texts, rounds, python)
        print_table(title(SCENARIOS[key], len(texts)), *table(runs, len(texts)))
        report[key] = {name: [asdict(run) for run in own] for name, own in runs.items()}
    click.echo(
        "\n× is the time over that of the first in the same round. Requests are those that arrived over the least that"
        " could do; refused is the share of them that was beyond the limit; got is how many of the vectors came, and"
        " again how many texts' vectors were sent once more. The loops use the official client, which tries thrice."
    )
    if figures:
        used = [name for names in HOSTED_REQUIREMENTS for name in names]
        figures.write_text(json.dumps({"machine": ran_on, "peers": used, "results": report}, indent=2))


def programs(base_url: str, python: str) -> dict[str, Program]:
    """Who takes part, milvine first."""
    ours = {"base_url": base_url, "batch": BATCH}
    return {
        f"milvine, {CONCURRENCY} at once": Program("milvine_openai", {**ours, "concurrency": CONCURRENCY}),
        "milvine, 1 at once": Program("milvine_openai", {**ours, "concurrency": 1}),
        "pymilvus.model, in a loop": Program("pymilvus_openai", ours, python),
        "openai, in a loop": Program("openai_client", ours, python),
    }


def measure(conditions: Conditions, texts: Sequence[str], rounds: int, python: str) -> dict[str, list[Run]]:
    """The rounds of each contender, which take turns; each has a server of its own, so that no limit is shared."""
    runs: dict[str, list[Run]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds):
            click.echo(f"Round {number + 1} of {rounds} …", err=True)
            for name in programs("", python):
                server = RunningServer(conditions)
                contender = Contender(programs(server.base_url, python)[name], Path(scratch, "log"))
                try:
                    contender.prepare([list(texts)])
                    server.stats()  # the warm-up's
                    seconds = contender.round()
                    runs.setdefault(name, []).append(Run(seconds, server.stats()))
                finally:
                    contender.stop()
                    server.stop()
    return runs


def table(runs: dict[str, list[Run]], count: int) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row of medians for each contender, the first one's times being what others are compared with."""
    least = -(-count // BATCH)
    first = next(iter(runs.values()))
    rows = []
    for name, own in runs.items():
        walls = [sum(run.seconds.walls) for run in own]
        ratios = [wall / sum(other.seconds.walls) for wall, other in zip(walls, first, strict=True)]
        rows.append(
            [
                name,
                f"{median(walls):.1f} s",
                f"{median(run.seconds.cpu for run in own):.2f} s",
                f"{count / median(walls):,.0f}",
                f"{median(ratios):.2f}",
                f"{median(run.stats.requests for run in own) / least:.2f}",
                f"{median(run.stats.refused / run.stats.requests for run in own):.1%}",
                f"{min(run.stats.received for run in own) / count:.0%}",
                f"{max(run.stats.texts - run.stats.distinct for run in own)}",
            ]
        )
    return ["", "wall", "CPU", "texts/s", "×", "requests", "refused", "got", "again"], rows


def title(conditions: Conditions, count: int) -> str:
    """What the server does, in words."""
    parts = [f"{conditions.latency * 1000:.0f} ms latency"]
    if conditions.failures:
        parts.append(f"{conditions.failures:.0%} of requests fail")
    if conditions.limit:
        parts.append(f"{conditions.limit} requests in {conditions.seconds:g} s")
    return f"{count:,} texts, {BATCH} a request: {', '.join(parts)}"
