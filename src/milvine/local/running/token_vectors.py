"""What is made of a model's outputs for each token: sparse vectors of token weights, and lists of token vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine.local.building.token_heads import largest_weights
from milvine.local.reading.special_tokens import special_ids
from milvine.local.running.sparse_rows import SparseRows
from milvine.local.running.vector_form import VectorForm, normalized
from milvine.types import DenseMatrix

if TYPE_CHECKING:
    from milvine.local.encoder import LocalModel
    from milvine.local.running.engine import Arrays
    from milvine.local.running.tokenizer import Tokens

WEIGHTLESS = ("cls_token", "eos_token", "pad_token", "unk_token")
"""Tokens that have no weight in a sparse vector, as BGE-M3's and mGTE's own code has it."""


def encode_hybrid(model: LocalModel, texts: list[str], form: VectorForm, *, prompt: str = "") -> dict[str, Any]:
    """A hybrid model's outputs, all from one pass; a text that comes twice is computed once.

    Args:
        model: The model; its `spec.dims` say which outputs there are.
        texts: The texts.
        form: What is done to dense vectors; token vectors are scaled to length 1 if these are.
        prompt: What is put before each text.

    Returns:
        Of these, those that the model computes: `dense`, an array of one row a text; `sparse`, a `csr_array` of shape
        `(len(texts), tokens of the vocabulary)`; and `colbert_vecs`, for each text float32 of shape `(tokens, dim)`,
        all of its tokens but the first.

    Raises:
        InputError: A text holds half of a surrogate pair.
        ModelError: The model's files cannot be had or used, or it fails.
    """
    row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    order = [row_of[text] for text in texts]
    tokenizer = model.tokenizer.tokenizer
    unused = special_ids(tokenizer, model.spec.special_tokens, *WEIGHTLESS)
    outputs = model.spec.dims
    dense = form.empty(len(row_of) if "dense" in outputs else 0)
    sparse = SparseRows(len(row_of), tokenizer.get_vocab_size())
    vectors: list[DenseMatrix] = [np.empty((0, 0), dtype=np.float32)] * len(row_of)

    def store(positions: list[int], tokens: list[Tokens], found: Arrays) -> None:
        if "dense" in outputs:
            dense[positions] = form.apply(found["dense"])
        for row, (position, text) in enumerate(zip(positions, tokens, strict=True)):
            if "sparse" in outputs:
                weights = found["sparse"][row, : len(text), 0]
                sparse.put(position, *largest_weights(text.ids, weights, unused))
            if "colbert_vecs" in outputs:
                of_text = found["colbert_vecs"][row, 1 : len(text)]
                vectors[position] = normalized(of_text) if form.normalize else of_text.copy()

    model.each(list(row_of), store, prompt=prompt)
    made: dict[str, Callable[[], Any]] = {
        "dense": lambda: dense[order],
        "sparse": lambda: sparse.matrix(order),
        "colbert_vecs": lambda: [vectors[row] for row in order],
    }
    return {name: made[name]() for name in outputs}


def encode_tokens(
    model: LocalModel,
    texts: list[str],
    tokenize: Callable[[Sequence[str]], list[Tokens]],
    max_length: int,
    *,
    skipped: frozenset[int] = frozenset(),
    normalize: bool = True,
) -> list[DenseMatrix]:
    """For each text the vectors of its tokens, float32 of shape `(tokens, dim)`; one that comes twice is computed once.

    Args:
        model: A late-interaction model.
        texts: The texts.
        tokenize: Makes tokens of them.
        max_length: Tokens of each that are read, for the warning where that is not all.
        skipped: The ids of tokens whose vectors are left out.
        normalize: Whether vectors are scaled to length 1.

    Raises:
        InputError: A text holds half of a surrogate pair.
        ModelError: The model's files cannot be had or used, or it fails.
    """
    row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    vectors: list[DenseMatrix] = [np.empty((0, 0), dtype=np.float32)] * len(row_of)

    def store(positions: list[int], tokens: list[Tokens], found: Arrays) -> None:
        for row, (position, text) in enumerate(zip(positions, tokens, strict=True)):
            kept = [at for at, number in enumerate(text.ids) if number not in skipped]
            of_text = found["vectors"][row, kept]
            vectors[position] = normalized(of_text) if normalize else of_text

    model.each(list(row_of), store, tokenize=tokenize, max_length=max_length)
    return [vectors[row_of[text]] for text in texts]
