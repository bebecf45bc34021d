"""How fast texts become vectors on this machine, beside Sentence Transformers on the same weights in the same run.

Each contender is a process of its own that loads the model and then encodes all texts each time it is told to; they
take turns, so that all meet the same noise. CPU seconds stand beside wall seconds, and beside both a plain float32
matrix product of onnxruntime's, which is the most that the machine gives.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import click

PEERS = Path(".milvine") / "peers"
REQUIREMENTS = (("torch==2.13.0",), ("sentence-transformers==6.2.0",))  # torch first: its own wheel, not CUDA's
TEXTS = 2_000
MEAN_TOKENS = 60

COMMON = """
import json, os, sys, time
texts, folder = json.load(open(sys.argv[1])), sys.argv[2]
def serve(encode):
    encode(texts[:64])
    print("ready", flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        encode(texts)
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True)
"""
MILVINE = """
from milvine import model
serve(model.DefaultEmbeddingFunction(folder=folder, show_progress=False).encode_documents)
"""
SENTENCE_TRANSFORMERS = """
from sentence_transformers import SentenceTransformer, models
words = models.Transformer(folder, max_seq_length=256)
network = SentenceTransformer(modules=[words, models.Pooling(384), models.Normalize()], device="cpu")
serve(lambda texts: network.encode(texts, show_progress_bar=False))
"""
MATRIX_PRODUCT = """
import numpy as np, onnxruntime
from onnx import TensorProto, helper
shape = [2048, 2048]
value = helper.make_tensor_value_info
inputs = [value(name, TensorProto.FLOAT, shape) for name in ("left", "right")]
graph = helper.make_graph([helper.make_node("MatMul", ["left", "right"], ["out"])], "product", inputs,
                          [value("out", TensorProto.FLOAT, shape)])
network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
feed = {name: np.random.rand(*shape).astype("f4") for name in ("left", "right")}
def multiply(_):
    for _ in range(20):
        session.run(None, feed)
serve(multiply)
"""
FLOP_OF_MATRIX_PRODUCT = 20 * 2 * 2048**3


class Contender:
    """A process that encodes all texts whenever it is told to."""

    def __init__(self, python: str, code: str, texts: Path, folder: str) -> None:
        command = [python, "-c", COMMON + code, str(texts), folder]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        if self._answer() != "ready":
            raise click.ClickException(f"a contender did not start; run its code by hand: {code.strip()}")

    def round(self) -> tuple[float, float]:
        """Wall and CPU seconds for all texts."""
        if self._process.stdin:
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()
        wall, cpu = json.loads(self._answer())
        return wall, cpu

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> str:
        return self._process.stdout.readline().decode().strip() if self._process.stdout else ""


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Times that each contender encodes all texts.")
@click.option("--peers", type=click.Path(path_type=Path), help="A Python that has the peers; by default one is made.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Where to write the figures as JSON.")
def local(rounds: int, peers: Path | None, output: Path | None) -> None:
    """Tokens a second of all-MiniLM-L6-v2 in float32, on 2,000 paragraphs of 60 tokens on average."""
    from milvine.local.catalogue import find
    from milvine.local.files import fetch_model

    folder = str(fetch_model(find("all-MiniLM-L6-v2"))["model.safetensors"].parent)
    texts, lengths = _texts()
    tokens = sum(lengths)
    click.echo(f"{len(texts):,} texts, {tokens:,} tokens ({min(lengths)} to {max(lengths)})")
    python = str(peers or _make_peers())
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "texts.json"
        listed.write_text(json.dumps(texts), encoding="utf-8")
        contenders = {
            "milvine": Contender(sys.executable, MILVINE, listed, folder),
            "sentence-transformers, batches of 32": Contender(python, SENTENCE_TRANSFORMERS, listed, folder),
            "matrix product": Contender(sys.executable, MATRIX_PRODUCT, listed, folder),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, contender in contenders.items():
                times[name].append(contender.round())
        for contender in contenders.values():
            contender.stop()
    figures = _figures(times, tokens, lengths)
    for line in figures["lines"]:
        click.echo(line)
    if output:
        output.write_text(json.dumps({"tokens": tokens, "seconds": times, **figures}, indent=2), encoding="utf-8")


def _figures(times: dict[str, list[tuple[float, float]]], tokens: int, lengths: list[int]) -> dict[str, list[str]]:
    lines = []
    ours = [wall for wall, _ in times["milvine"]]
    limit = FLOP_OF_MATRIX_PRODUCT / median(wall for wall, _ in times["matrix product"])
    for name, seconds in times.items():
        if name == "matrix product":
            continue
        wall, cpu = median(wall for wall, _ in seconds), median(cpu for _, cpu in seconds)
        ratio = median(theirs / own for (theirs, _), own in zip(seconds, ours, strict=True))
        share = _flop(lengths) / wall / limit
        lines.append(
            f"{name:38} {tokens / wall:8,.0f} tokens/s  {wall:6.2f} s wall  {cpu:6.2f} s CPU"
            f"  {ratio:5.2f} times milvine's time  {share:4.0%} of the matrix product"
        )
    lines.append(f"{'matrix product':38} {limit / 1e9:8,.0f} GFLOP/s")
    return {"lines": lines}


def _flop(lengths: list[int]) -> float:
    """Floating-point operations of MiniLM's matrix products over texts of these lengths, padding not counted."""
    layers, hidden, wide = 6, 384, 1536
    dense = sum(lengths) * 2 * (4 * hidden * hidden + 2 * hidden * wide)
    attention = sum(length * length for length in lengths) * 2 * 2 * hidden
    return float(layers * (dense + attention))


def _texts() -> tuple[list[str], list[int]]:
    """Paragraphs of Python's documentation, of mixed length, without so many short ones that the mean is too low."""
    from milvine import model
    from milvine.ingest import python_documents

    tokenizer = model.DefaultEmbeddingFunction().tokenizer
    paragraphs = list(dict.fromkeys(part for text in python_documents() for part in text.text.split("\n\n")))
    encodings = tokenizer.encode_batch_fast(paragraphs)
    by_length = sorted(
        (min(len(encoding.ids), 256), text) for encoding, text in zip(encodings, paragraphs, strict=True)
    )
    while sum(count for count, _ in by_length) < MEAN_TOKENS * len(by_length):
        by_length = by_length[len(by_length) // 50 + 1 :]
    chosen = [by_length[at * len(by_length) // TEXTS] for at in range(TEXTS)]
    random.Random(0).shuffle(chosen)
    return [text for _, text in chosen], [count for count, _ in chosen]


def _make_peers() -> Path:
    python = PEERS / "bin" / "python"
    if not python.exists():
        click.echo(f"Setting up {PEERS} with {', '.join(name for names in REQUIREMENTS for name in names)} …")
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        for names in REQUIREMENTS:
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *names], check=True)
    return python
