"""Who runs against whom, on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import Program
from benchmarks.texts import QUESTIONS

FASTEMBED_TEXTS = 512
"""Two of its batches; its time is a batch's, so that of all texts follows."""
PYMILVUS_TEXTS = 50
"""Each takes the same time, because all are padded to the same length."""
KEYS = ("dense", "int8", "splade", "reranker", "single", "start")


@dataclass(frozen=True)
class Entrant:
    """A contender in a group.

    Attributes:
        name: What the table calls it.
        program: What runs.
        inputs: With how many of the texts it runs, if it is too slow for all; its seconds are then scaled.
        note: What is to be known about it.
        is_compared: Whether its results must agree with milvine's; not if it runs other weights.
    """

    name: str
    program: Program
    inputs: int | None = None
    note: str = ""
    is_compared: bool = True


@dataclass(frozen=True)
class Agreement:
    """How far results may lie from milvine's: a cosine at least, or a difference at most; on the first input.

    Attributes:
        cosine: The smallest cosine allowed.
        difference: The largest difference allowed.
        inputs: How many texts are compared, of those that are not cut.
    """

    cosine: float | None = None
    difference: float | None = None
    inputs: int = 64


@dataclass(frozen=True)
class Group:
    """Contenders that do the same work, milvine first.

    Attributes:
        key: Its name on the command line.
        title: What is done.
        entrants: Who takes part.
        calls: The inputs of a round, one call each.
        unit: What is counted.
        amount: How much of it a round has; `None` where each call is measured on its own.
        agreement: How far results may differ.
        starts: Whether each call is a new process.
        limit: Whether the matrix product runs beside it.
    """

    key: str
    title: str
    entrants: tuple[Entrant, ...]
    calls: tuple[list[str], ...]
    unit: str
    amount: float | None = None
    agreement: Agreement | None = None
    starts: bool = False
    limit: bool = False


def make_groups(
    python: str, models: dict[str, str], splade: Path, texts: Sequence[str], lengths: Sequence[int]
) -> dict[str, Group]:
    """All groups by their keys.

    Args:
        python: A Python that has the peers.
        models: The folders of the peers' models, see `benchmarks.peers.MODELS`.
        splade: The folder of splade-tiny.
        texts: The texts.
        lengths: Their tokens.
    """
    everything = [list(texts)]
    tokens = float(sum(lengths))
    queries = [[question] for question in QUESTIONS]
    passages = [list(texts[at * 100 : (at + 1) * 100]) for at in range(4)]
    st_dense = Program("sentence_transformers_dense", {"folder": models["sentence-transformers"]}, python)
    fastembed = Program("fastembed_dense", {"folder": models["onnx-256"]}, python)
    milvine = Entrant("milvine", Program("milvine_dense"))
    groups = (
        Group(
            "dense",
            f"Dense vectors: all-MiniLM-L6-v2 in float32, {len(texts):,} paragraphs",
            (
                milvine,
                Entrant("sentence-transformers", st_dense, note="its default, batches of 32"),
                Entrant(
                    "fastembed",
                    fastembed,
                    FASTEMBED_TEXTS,
                    f"its default, batches of 256; timed on {min(FASTEMBED_TEXTS, len(texts))} texts",
                ),
                Entrant(
                    "pymilvus.model, at 512 tokens",
                    Program("pymilvus_default", {"folder": models["onnx-512"]}, python),
                    PYMILVUS_TEXTS,
                    "its default function's code over these weights, each text alone and padded to 512, as the model's"
                    f" published tokenizer says; timed on {PYMILVUS_TEXTS} texts",
                ),
                Entrant(
                    "pymilvus.model, at 256 tokens",
                    Program("pymilvus_default", {"folder": models["onnx-256"]}, python),
                    PYMILVUS_TEXTS,
                    "the same, padded to the 256 tokens that the model reads",
                ),
                Entrant(
                    "pymilvus.model, its default's shape",
                    Program("pymilvus_default", {"folder": models["albert"]}, python),
                    PYMILVUS_TEXTS,
                    "the same code over an ALBERT of its default model's shape with seeded weights, padded to 512",
                    is_compared=False,
                ),
            ),
            tuple(everything),
            "tokens/s",
            tokens,
            Agreement(cosine=0.9999),
            limit=True,
        ),
        Group(
            "int8",
            f"Dense vectors in int8: all-MiniLM-L6-v2, {len(texts):,} paragraphs",
            (
                Entrant("milvine, int8", Program("milvine_dense", {"quantize": "int8"})),
                Entrant("milvine, float32", Program("milvine_dense")),
            ),
            tuple(everything),
            "tokens/s",
            tokens,
            Agreement(cosine=0.95),
        ),
        Group(
            "splade",
            f"Sparse vectors: splade-tiny in float32, {len(texts):,} paragraphs",
            (
                Entrant("milvine", Program("milvine_sparse", {"model_name": "splade-tiny"})),
                Entrant(
                    "sentence-transformers",
                    Program("sentence_transformers_sparse", {"folder": str(splade)}, python),
                    note="SparseEncoder, its default, batches of 32",
                ),
            ),
            tuple(everything),
            "tokens/s",
            tokens,
            Agreement(cosine=0.9999),
        ),
        Group(
            "reranker",
            "Reranking: a cross-encoder of ms-marco-MiniLM-L-12-v2's shape in float32, 4 × 100 passages",
            (
                Entrant("milvine", Program("milvine_reranker", {"folder": models["cross-encoder"]})),
                Entrant(
                    "sentence-transformers",
                    Program("sentence_transformers_reranker", {"folder": models["cross-encoder"]}, python),
                    note="CrossEncoder, its default, batches of 32",
                ),
            ),
            tuple([question, *part] for question, part in zip(QUESTIONS, passages, strict=False)),
            "pairs/s",
            float(sum(map(len, passages))),
            Agreement(difference=1e-4),
        ),
        Group(
            "single",
            f"One question a call: all-MiniLM-L6-v2 in float32, {len(queries)} questions",
            (
                milvine,
                Entrant("onnxruntime alone", Program("onnxruntime_call"), note="milvine's session and inputs"),
                Entrant("sentence-transformers", st_dense),
                Entrant("fastembed", fastembed),
            ),
            tuple(queries * 5),
            "ms",
            agreement=Agreement(cosine=0.9999),
        ),
        Group(
            "start",
            "Start: a new process to its first vector of all-MiniLM-L6-v2, imports included",
            (milvine, Entrant("sentence-transformers", st_dense), Entrant("fastembed", fastembed)),
            (list(QUESTIONS[:1]),),
            "s CPU",
            starts=True,
        ),
    )
    return {group.key: group for group in groups}
