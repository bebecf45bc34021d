"""BM25 as an embedding function: a vocabulary and its statistics, learned from a corpus or loaded from a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from milvine._texts import as_texts
from milvine.analysis.analyzer import get_analyzer
from milvine.analysis.bm25 import Floats, count_matrix, idf_lucene, idf_okapi, tf_weight
from milvine.errors import InputError, InputTypeError
from milvine.model.base import BaseEmbeddingFunction
from milvine.model.sparse.bm25._parameters import Parameters, check_parameters, read_parameters, write_parameters
from milvine.types import SparseMatrix

_BATCH = 4096


class BM25EmbeddingFunction(BaseEmbeddingFunction[SparseMatrix]):
    """BM25 (Robertson and Zaragoza 2009): the inner product of a query's and a document's vector is the BM25 score.

    A dimension is a term of the corpus that `fit` saw, numbered in the order of first appearance. Documents carry
    `tf_weight`, queries `idf` times how often the query repeats the term; terms that the corpus does not have are
    ignored, and a text without known terms has an empty row (which Milvus refuses to store: leave such texts out).

    Files, numbers (with `idf="okapi"`) and the numbering of terms are those of `pymilvus.model`, whose saved files load
    here and the other way round; its analyzer finds words a little differently, see `build_default_analyzer`.

    Args:
        analyzer: Any callable that turns a text into a list of terms, or a language code; `None`: `"en"`.
        corpus: Texts to `fit` at once.
        k1: How slowly a term's repetition saturates, at least 0.
        b: How much a document's length counts, 0 to 1.
        epsilon: With `idf="okapi"`, the floor under negative values as a share of the mean idf.
        num_workers: Accepted for compatibility: analysis runs in this process, where a word once seen costs one
            look-up, which is faster than handing the texts to another process.
        idf: The formula that the next `fit` uses: `"lucene"` is never negative; `"okapi"` gives `pymilvus.model`'s
            numbers, which can be negative in a small corpus (Milvus Lite refuses negative weights).

    Attributes:
        k1, b, epsilon: As above; `load` replaces them.
        idf_formula: The argument `idf`.
        corpus_size: The number of documents that were fitted.
        avgdl: Their mean number of terms.

    Raises:
        InputError: A number is out of its range, the language is unknown, or `corpus` is empty.
        InputTypeError: `analyzer` is not callable, or `corpus` no list of strings.
    """

    def __init__(
        self,
        analyzer: Callable[[str], list[str]] | str | None = None,
        corpus: Iterable[str] | None = None,
        k1: float = 1.5,
        b: float = 0.75,
        epsilon: float = 0.25,
        num_workers: int = 1,
        *,
        idf: Literal["lucene", "okapi"] = "lucene",
    ) -> None:
        check_parameters(k1, b, epsilon)
        if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 1:
            raise InputError(f"num_workers must be an integer of at least 1, not {num_workers!r}")
        if idf not in ("lucene", "okapi"):
            raise InputError(f'idf must be "lucene" or "okapi", not {idf!r}')
        if analyzer is None or isinstance(analyzer, str):
            analyzer = get_analyzer(analyzer or "en")
        if not callable(analyzer):
            raise InputTypeError(
                f"analyzer must be a callable that turns a text into a list of terms, not {type(analyzer).__name__}"
            )
        self.analyzer = analyzer
        self.k1 = float(k1)
        self.b = float(b)
        self.epsilon = float(epsilon)
        self.num_workers = num_workers
        self.idf_formula = idf
        self.corpus_size = 0
        self.avgdl = 0.0
        self._vocabulary: dict[str, int] = {}
        self._idf_values: Floats = np.empty(0)
        self._idf_table: dict[str, list[Any]] | None = None
        if corpus is not None:
            self.fit(corpus)

    @property
    def dim(self) -> int:
        """The number of distinct terms; 0 before `fit` or `load`."""
        return len(self._vocabulary)

    @property
    def idf(self) -> dict[str, list[Any]]:
        """Each term's idf and dimension, `{term: [value, index]}`; to read, not to change."""
        if self._idf_table is None:
            values = self._idf_values.tolist()
            self._idf_table = {term: [values[index], index] for term, index in self._vocabulary.items()}
        return self._idf_table

    def fit(self, corpus: Iterable[str]) -> None:
        """Learn the vocabulary and its statistics from a corpus, in place of what was learned before.

        A blank text, or one of stop words alone, counts as a document of length 0; a corpus of nothing else gives
        dimension 0 and empty rows.

        Args:
            corpus: Any iterable of strings.

        Raises:
            InputError: The corpus is empty.
            InputTypeError: It is a bare string, or holds something that is no string; or the analyzer gives no strings.
        """
        texts = as_texts(corpus, "corpus")
        if not texts:
            raise InputError("corpus is empty: BM25 learns its vocabulary from at least one text")
        vocabulary = _GrowingVocabulary()
        ids, lengths = self._term_ids(texts, lambda terms: map(vocabulary.__getitem__, terms))
        counts = count_matrix(ids, lengths, len(vocabulary))
        df = np.bincount(counts.indices, minlength=len(vocabulary))
        values = idf_okapi(df, len(texts), self.epsilon) if self.idf_formula == "okapi" else idf_lucene(df, len(texts))
        self._set_state(dict(vocabulary), values, len(texts), int(lengths.sum()) / len(texts))

    def _encode_documents(self, texts: list[str]) -> SparseMatrix:
        counts, lengths = self._counts(texts)
        if counts.nnz:
            per_entry = np.repeat(lengths, np.diff(counts.indptr))
            counts.data = tf_weight(counts.data, per_entry, self.avgdl, self.k1, self.b)
        return counts.astype(np.float32)

    def _encode_queries(self, texts: list[str]) -> SparseMatrix:
        counts, _ = self._counts(texts)
        counts.data *= self._idf_values[counts.indices]
        counts.eliminate_zeros()
        return counts.astype(np.float32)

    def __call__(self, texts: Iterable[str]) -> NoReturn:  # noqa: ARG002
        """Refused: BM25 encodes queries and documents differently.

        Raises:
            InputError: Always; it is a `ValueError`.
        """
        raise InputError("BM25 encodes queries and documents differently: use encode_queries or encode_documents")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the vocabulary, statistics and parameters as JSON, format "v1" of `pymilvus.model`; not the analyzer.

        An existing file is replaced in one step: whoever reads it finds the old one or the new one.

        Raises:
            InputError: There is nothing to save yet, or the folder does not exist.
            OSError: The file cannot be written.
        """
        self._check_fitted("save")
        write_parameters(
            path,
            Parameters(
                corpus_size=self.corpus_size,
                avgdl=self.avgdl,
                idf_word=list(self._vocabulary),
                idf_value=self._idf_values.tolist(),
                k1=self.k1,
                b=self.b,
                epsilon=self.epsilon,
            ),
        )

    def load(self, path: str | os.PathLike[str] | None = None) -> None:
        """Take over what `save`, here or in `pymilvus.model`, has written; k1, b and epsilon included.

        The idf values are used as they stand in the file, whatever formula gave them. The analyzer must be the one that
        the corpus was analysed with: the file does not say which it was.

        Raises:
            InputError: No path is given (`pymilvus.model` would download statistics of MS MARCO).
            ReadError: The file is missing, damaged, another kind of file, or from a newer milvine. Nothing is changed.
        """
        if path is None:
            raise InputError(
                "load() needs a path, for milvine downloads nothing here: fit(corpus) on your own texts, or load"
                " a copy of bm25_msmarco_v1.json (milvus-io/pymilvus-assets on GitHub, release v0.1-bm25v1)"
            )
        parameters = read_parameters(path)
        vocabulary = {word: index for index, word in enumerate(parameters.idf_word)}
        values = np.array(parameters.idf_value, dtype=np.float64)
        self._set_state(vocabulary, values, parameters.corpus_size, parameters.avgdl)
        self.k1, self.b, self.epsilon = parameters.k1, parameters.b, parameters.epsilon

    def identity(self) -> dict[str, Any]:
        """What must be equal for vectors to be comparable: parameters, analyzer, and a digest of vocabulary and idf."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update("\n".join(self._vocabulary).encode("utf-8", "surrogatepass"))
        digest.update(self._idf_values.astype("<f8").tobytes())
        return {
            **super().identity(),
            "k1": self.k1,
            "b": self.b,
            "avgdl": self.avgdl,
            "analyzer": getattr(self.analyzer, "identity", None) or _name(self.analyzer),
            "statistics": digest.hexdigest(),
        }

    def _set_state(self, vocabulary: dict[str, int], values: Floats, corpus_size: int, avgdl: float) -> None:
        self._vocabulary, self._idf_values, self._idf_table = vocabulary, values, None
        self.corpus_size, self.avgdl = corpus_size, avgdl

    def _check_fitted(self, verb: str) -> None:
        if not self.corpus_size:
            raise InputError(f"BM25 has no statistics to {verb} with yet: call fit(corpus) or load(path) first")

    def _counts(self, texts: list[str]) -> tuple[SparseMatrix, npt.NDArray[np.int64]]:
        self._check_fitted("encode")
        ids, lengths = self._term_ids(texts, lambda terms: map(self._vocabulary.get, terms, repeat(-1)))
        return count_matrix(ids, lengths, self.dim), lengths

    def _term_ids(
        self, texts: list[str], number: Callable[[Iterable[str]], Iterable[int]]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The number of each term, text after text, and how many terms each text has."""
        ids: list[npt.NDArray[np.int32]] = []
        lengths: list[int] = []
        for start in range(0, len(texts), _BATCH):
            terms = [self.analyzer(text) for text in texts[start : start + _BATCH]]
            for found in terms:
                if not isinstance(found, (list, tuple)):
                    raise InputTypeError(f"analyzer must give a list of terms, not {type(found).__name__}")
            lengths.extend(map(len, terms))
            ids.append(np.fromiter(number(chain.from_iterable(terms)), np.int32))
        return np.concatenate([np.empty(0, np.int32), *ids]), np.array(lengths, dtype=np.int64)


class _GrowingVocabulary(dict[str, int]):
    """Term -> its number, the next free one when it is first asked for."""

    def __missing__(self, term: str) -> int:
        if not isinstance(term, str):
            raise InputTypeError(f"analyzer must give strings, not {type(term).__name__} ({term!r})")
        number = self[term] = len(self)
        return number


def _name(analyzer: Any) -> str:
    named = analyzer if hasattr(analyzer, "__qualname__") else type(analyzer)
    return f"{named.__module__}.{named.__qualname__}"
