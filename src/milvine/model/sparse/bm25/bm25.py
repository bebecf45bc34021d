"""BM25 as an embedding function: a vocabulary and its statistics, learned from a corpus or loaded from a file."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from milvine._callers import levels_to_caller
from milvine._texts import as_text
from milvine.analysis.bm25 import Floats
from milvine.analysis.vocabulary import Vocabulary
from milvine.errors import InputError, InputTypeError, NegativeWeightWarning
from milvine.model.base import BaseEmbeddingFunction
from milvine.model.sparse.bm25._analyzers import AnyAnalyzer, analyzer_with, as_analyzer, identity_of
from milvine.model.sparse.bm25._archive import Archive, is_archive, read_archive, write_archive
from milvine.model.sparse.bm25._encoding import Weigh, encode
from milvine.model.sparse.bm25._formulas import (
    VARIANTS,
    IdfName,
    VariantName,
    check_parameters,
    idf_of,
    with_defaults,
)
from milvine.model.sparse.bm25._parameters import Parameters, read_parameters, write_parameters
from milvine.model.sparse.bm25._statistics import CorpusStatistics, count
from milvine.model.sparse.bm25.explanation import Explanation, explain
from milvine.types import SparseMatrix


class BM25EmbeddingFunction(BaseEmbeddingFunction[SparseMatrix]):
    """BM25 (Robertson and Zaragoza 2009): the inner product of a query's and a document's vector is the BM25 score.

    A dimension is a term of the corpus, numbered in the order of first appearance. Documents carry the weights of their
    terms, queries `idf` times how often the query repeats the term; `milvine.analysis.bm25` has the formulas and their
    sources. Terms that the corpus does not have are ignored, and a text without known terms has an empty row, which
    Milvus refuses: a warning says how many there are.

    The corpus may grow (`partial_fit`), shrink (`forget`) and be counted in parts (`merge`), with the same result, to
    the bit, as one `fit` of the texts that are there. A term's dimension stays, so vectors that are stored stay valid;
    their weights are those of the `avgdl` at the time, and are worth computing anew once it has moved by a quarter.

    Files, numbers (with `idf="okapi"`) and the numbering of terms are those of `pymilvus.model`, whose saved files load
    here and the other way round; its analyzer finds words a little differently, see `build_default_analyzer`.

    Encoding may be done by several threads at once, as long as none of them changes the corpus.

    Args:
        analyzer: Any callable that turns a text into a list of terms, or a language code; `None`: `"en"`, and after
            `load` the one that the file names.
        corpus: Texts to `fit` at once.
        k1: How slowly a term's repetition saturates, at least 0.
        b: How much a document's length counts, 0 to 1.
        epsilon: With `idf="okapi"`, the floor under negative values as a share of the mean idf.
        num_workers: Accepted for compatibility: analysis runs in this process, where a piece of text once seen costs
            one look-up, which is less than handing the text to another process. With a slow analyzer of your own, fit
            parts of the corpus in processes of your own and `merge` them.
        variant: The weight of a term in a document: `"bm25"`; `"bm25l"` and `"bm25+"` are fairer to long documents.
        idf: The idf: `"lucene"`, `"bm25l"` and `"bm25+"` are never negative; `"okapi"` gives `pymilvus.model`'s
            numbers, which can be negative in a small corpus, and `"robertson"` is negative for terms that more than
            half of the documents have. Milvus refuses negative weights. `None`: the one that belongs to the variant,
            `"lucene"` for `"bm25"`.
        delta: With `"bm25l"` and `"bm25+"`, how much a term's presence counts at least; `None`: 0.5 and 1.0, as in the
            papers.
        show_progress: Show bars of long work; by default on a terminal only.

    Attributes:
        k1, b, epsilon, variant, delta: As above; `load` replaces them.
        idf_formula: The argument `idf`.
        corpus_size: The number of documents that were fitted.
        avgdl: Their mean number of terms.

    Raises:
        InputError: A number is out of its range, the language is unknown, or `corpus` is empty.
        InputTypeError: `analyzer` is not callable, or `corpus` no list of strings.
    """

    _vocabulary: Vocabulary
    _statistics: CorpusStatistics | None  # unknown to a v1 file
    _unused: npt.NDArray[np.bool_] | None  # terms that no document has any more, if there are any
    _idf: Floats | None  # computed when it is first needed
    _idf_table: dict[str, list[Any]] | None

    def __init__(
        self,
        analyzer: AnyAnalyzer | str | None = None,
        corpus: Iterable[str] | None = None,
        k1: float = 1.5,
        b: float = 0.75,
        epsilon: float = 0.25,
        num_workers: int = 1,
        *,
        variant: VariantName = "bm25",
        idf: IdfName | None = None,
        delta: float | None = None,
        show_progress: bool | None = None,
    ) -> None:
        check_parameters(k1, b, epsilon)
        if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 1:
            raise InputError(f"num_workers must be an integer of at least 1, not {num_workers!r}")
        idf, delta = with_defaults(variant, idf, delta)
        self._adopts_analyzer = analyzer is None
        self.analyzer = as_analyzer(analyzer)
        self.k1 = float(k1)
        self.b = float(b)
        self.epsilon = float(epsilon)
        self.num_workers = num_workers
        self.variant = variant
        self.idf_formula = idf
        self.delta = delta
        self.show_progress = show_progress
        self._learned(Vocabulary(self.analyzer), CorpusStatistics())
        if corpus is not None:
            self.fit(corpus)

    @property
    def dim(self) -> int:
        """The number of terms that have a dimension, those that no document has any more included; 0 before `fit`."""
        return len(self._vocabulary)

    @property
    def idf(self) -> dict[str, list[Any]]:
        """Each term's idf and dimension, `{term: [value, index]}`; to read, not to change."""
        if self._idf_table is None:
            values = self._idf_values().tolist()
            self._idf_table = {term: [values[index], index] for term, index in self._vocabulary.numbers.items()}
        return self._idf_table

    def fit(self, corpus: Iterable[str]) -> None:
        """Learn the vocabulary and its statistics from a corpus, in place of what was learned before.

        A blank text, or one of stop words alone, counts as a document of length 0; a corpus of nothing else gives
        dimension 0 and empty rows. If an error or Ctrl-C ends it, what was learned before is still there.

        Args:
            corpus: Any iterable of strings, such as a generator: the texts are never all in memory.

        Raises:
            InputError: The corpus is empty.
            InputTypeError: It is a bare string, or holds something that is no string; or the analyzer gives no strings.
        """
        vocabulary = Vocabulary(self.analyzer)
        statistics = count(corpus, "corpus", vocabulary, show_progress=self.show_progress)
        if not statistics.n_documents:
            raise InputError("corpus is empty: BM25 learns its vocabulary from at least one text")
        self._learned(vocabulary, statistics)
        self._idf_values()

    def partial_fit(self, documents: Iterable[str]) -> None:
        """Learn from more documents, as if they had been at the end of the corpus. Terms keep their dimensions.

        If an error or Ctrl-C ends it, nothing of it is learned.

        Args:
            documents: Any iterable of strings; none is legal.

        Raises:
            InputError: A v1 file was loaded: it does not hold the counts.
            InputTypeError: As `fit`.
        """
        statistics, size = self._counted("partial_fit"), self.dim
        try:
            added = count(documents, "documents", self._vocabulary, show_progress=self.show_progress)
        except BaseException:
            self._vocabulary.shrink(size)
            raise
        self._learned(self._vocabulary, statistics.plus(added, self.dim))

    def forget(self, documents: Iterable[str]) -> None:
        """Undo `partial_fit`: the statistics are as if these documents had never been fitted.

        Terms keep their dimensions, so `dim` stays; a term that no document has any more is ignored as an unknown one
        is, and has its old dimension again when it comes back.

        Args:
            documents: The texts as they were fitted, in any order.

        Raises:
            InputError: They cannot all have been fitted, or a v1 file was loaded. Nothing is changed then.
            InputTypeError: As `fit`.
        """
        statistics = self._counted("forget")
        removed = count(documents, "documents", self._vocabulary, grow=False, show_progress=self.show_progress)
        self._learned(self._vocabulary, statistics.minus(removed))

    def merge(self, other: BM25EmbeddingFunction) -> None:
        """Learn what another function has learned, as if its corpus had followed; `other` is left as it is.

        So a corpus can be fitted in parts, in other processes or on other machines. This function's terms keep their
        dimensions; those that it does not have follow in the order of the other's. Vectors made by `other` have its
        dimensions and do not fit this function's.

        Args:
            other: A function with the same analyzer.

        Raises:
            InputError: The analyzers differ, or either function was loaded from a v1 file.
            InputTypeError: `other` is no `BM25EmbeddingFunction`.
        """
        if not isinstance(other, BM25EmbeddingFunction):
            raise InputTypeError(f"merge takes a BM25EmbeddingFunction, not {type(other).__name__}")
        statistics, others = self._counted("merge"), other._counted("merge")
        here, there = identity_of(self.analyzer), identity_of(other.analyzer)
        if here != there:
            raise InputError(f"Cannot merge statistics of analyzer {there} into those of {here}: fit both with one")
        numbers = self._vocabulary.add(term for term, at in other._vocabulary.numbers.items() if others.df[at])
        added = CorpusStatistics(others.n_documents, others.total_length, np.zeros(self.dim, dtype=np.int64))
        added.df[numbers] = others.df[others.df > 0]
        self._learned(self._vocabulary, statistics.plus(added, self.dim))

    def _encode_documents(self, texts: list[str]) -> SparseMatrix:
        return self._encode(texts, "documents", lambda counts, lengths, _: self._weigh(counts, lengths))

    def _encode_queries(self, texts: list[str]) -> SparseMatrix:
        idf = self._idf_values()
        return self._encode(texts, "queries", lambda counts, _, columns: counts * idf[columns])

    def __call__(self, texts: Iterable[str]) -> NoReturn:  # noqa: ARG002
        """Refused: BM25 encodes queries and documents differently.

        Raises:
            InputError: Always; it is a `ValueError`.
        """
        raise InputError("BM25 encodes queries and documents differently: use encode_queries or encode_documents")

    def explain(self, query: str, document: str) -> Explanation:
        """What each term of a query adds to a document's score.

        The document need not be one of the corpus.

        Raises:
            InputError: Nothing has been fitted or loaded.
            InputTypeError: `query` or `document` is no string.
        """
        self._check_fitted("explain")
        return explain(
            self.analyzer(as_text(query, "query")),
            self.analyzer(as_text(document, "document")),
            self._vocabulary.numbers,
            None if self._statistics is None else self._statistics.df,
            self._idf_values(),
            self.avgdl,
            lambda tf, length: float(self._weigh(np.array(tf), np.array(length))),
        )

    def save(self, path: str | os.PathLike[str], format: Literal["v1", "milvine"] = "v1") -> None:  # noqa: A002
        """Write what was learned. An existing file is replaced in one step: a reader finds the old one or the new one.

        Args:
            path: The file; its folder must exist.
            format: `"v1"`, the JSON of `pymilvus.model`: it holds each term's idf but not the counts, so what loads it
                can encode and not go on fitting, and it does not say which analyzer was used. Terms that no document
                has any more are there with an idf of 0. `"milvine"`, a fifth of its size: holds the exact counts, the
                formulas and what identifies the analyzer, and fitting can go on.

        Raises:
            InputError: There is nothing to save, the folder does not exist, or the format cannot hold it.
            OSError: The file cannot be written.
        """
        if format not in ("v1", "milvine"):
            raise InputError(f'format must be "v1" or "milvine", not {format!r}')
        if format == "milvine":
            statistics = self._counted("save in milvine's format")
            if not self.dim:
                self._check_fitted("save")
            names = ("k1", "b", "epsilon", "variant", "delta")
            archive = Archive(
                analyzer=identity_of(self.analyzer),
                idf=self.idf_formula,
                n_documents=statistics.n_documents,
                total_length=statistics.total_length,
                terms=list(self._vocabulary.numbers),
                df=statistics.df,
                **{name: getattr(self, name) for name in names},
            )
            write_archive(path, archive)
            return
        self._check_fitted("save")
        if self.variant != "bm25":
            raise InputError(f'A v1 file cannot say that the variant is {self.variant!r}: save with format="milvine"')
        parameters = Parameters(
            corpus_size=self.corpus_size,
            avgdl=self.avgdl,
            idf_word=list(self._vocabulary.numbers),
            idf_value=self._idf_values().tolist(),
            k1=self.k1,
            b=self.b,
            epsilon=self.epsilon,
        )
        write_parameters(path, parameters)

    def load(self, path: str | os.PathLike[str] | None = None) -> None:
        """Take over what `save`, here or in `pymilvus.model`, has written, in either format; k1 and the like included.

        A v1 file's idf values are used as they stand, whatever formula gave them, with the variant `"bm25"`. It does
        not say which analyzer was used, so this function's must be the one.

        Raises:
            InputError: The corpus was analysed with another analyzer than this function's; or no path is given
                (`pymilvus.model` would download statistics of MS MARCO). Nothing is changed.
            ReadError: The file is missing, damaged, another kind of file, or from a newer milvine. Nothing is changed.
        """
        if path is None:
            raise InputError(
                "load() needs a path, for milvine downloads nothing here: fit(corpus) on your own texts, or load"
                " a copy of bm25_msmarco_v1.json (milvus-io/pymilvus-assets on GitHub, release v0.1-bm25v1)"
            )
        if is_archive(path):
            archive = read_archive(path)
            analyzer = analyzer_with(archive.analyzer, self.analyzer, or_another=self._adopts_analyzer)
            if analyzer is None:
                raise InputError(
                    f"{path} was fitted with analyzer {archive.analyzer}, and this function has"
                    f" {identity_of(self.analyzer)}: make the function with that analyzer, or fit anew"
                )
            self.analyzer = analyzer
            self.variant, self.idf_formula, self.delta = archive.variant, archive.idf, archive.delta
            self.k1, self.b, self.epsilon = archive.k1, archive.b, archive.epsilon
            statistics = CorpusStatistics(archive.n_documents, archive.total_length, archive.df)
            self._learned(Vocabulary(self.analyzer, archive.terms), statistics)
            return
        parameters = read_parameters(path)
        self.variant, self.delta = "bm25", None
        self.k1, self.b, self.epsilon = parameters.k1, parameters.b, parameters.epsilon
        self._loaded(parameters)
        self._warn_of_negative(self._idf_values())

    def identity(self) -> dict[str, Any]:
        """What must be equal for vectors to be comparable: formulas, analyzer, and a digest of vocabulary and idf."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update("\n".join(self._vocabulary.numbers).encode("utf-8", "surrogatepass"))
        digest.update(self._idf_values().astype("<f8").tobytes())
        return {
            **super().identity(),
            "k1": self.k1,
            "b": self.b,
            "variant": self.variant,
            "delta": self.delta,
            "avgdl": self.avgdl,
            "analyzer": identity_of(self.analyzer),
            "statistics": digest.hexdigest(),
        }

    def _learned(self, vocabulary: Vocabulary, statistics: CorpusStatistics) -> None:
        unused = statistics.df == 0
        self._vocabulary, self._statistics = vocabulary, statistics
        self._unused = unused if unused.any() else None
        self._idf = self._idf_table = None
        self.corpus_size, self.avgdl = statistics.n_documents, statistics.avgdl

    def _loaded(self, parameters: Parameters) -> None:
        self._vocabulary = Vocabulary(self.analyzer, parameters.idf_word)
        self._statistics = self._unused = self._idf_table = None
        self._idf = np.array(parameters.idf_value, dtype=np.float64)
        self.corpus_size, self.avgdl = parameters.corpus_size, parameters.avgdl

    def _counted(self, verb: str) -> CorpusStatistics:
        if self._statistics is None:
            raise InputError(
                f"Cannot {verb}: a v1 file was loaded, which has each term's idf but not in how many documents it"
                ' occurs; fit(corpus), and save with format="milvine"'
            )
        return self._statistics

    def _check_fitted(self, verb: str) -> None:
        if not self.corpus_size:
            raise InputError(f"BM25 has no statistics to {verb} with yet: call fit(corpus) or load(path) first")

    def _encode(self, texts: list[str], what: str, weigh: Weigh) -> SparseMatrix:
        self._check_fitted("encode")
        return encode(texts, what, self._vocabulary, self._unused, weigh, show_progress=self.show_progress)

    def _idf_values(self) -> Floats:
        if self._idf is None:
            self._idf = idf_of(self.idf_formula, self._counted("weigh").df, self.corpus_size, self.epsilon)
            self._warn_of_negative(self._idf)
        return self._idf

    def _warn_of_negative(self, idf: Floats) -> None:
        if negative := int((idf < 0).sum()):
            warnings.warn(
                f"{negative} of {self.dim} terms have a negative idf, and Milvus refuses queries with negative weights;"
                ' fit with idf="lucene", which is never negative',
                NegativeWeightWarning,
                stacklevel=levels_to_caller(),
            )

    def _weigh(self, counts: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> Floats:
        delta = () if self.delta is None else (self.delta,)
        return VARIANTS[self.variant].weight(counts, lengths, self.avgdl, self.k1, self.b, *delta)
