"""Text to terms, and the statistics of BM25: what lexical search needs before there are vectors."""

from milvine.analysis.analyzer import Analyzer, get_analyzer
from milvine.analysis.bm25 import count_matrix, idf_lucene, idf_okapi, tf_weight
from milvine.analysis.dictionaries import DICTIONARIES, DictionaryAnalyzer
from milvine.analysis.languages import LANGUAGES, Language, find_language, stop_words
from milvine.analysis.statistics import NO_TERMS, TermStatistics, document_vectors, query_vectors, term_id, term_ids

__all__ = [
    "DICTIONARIES",
    "LANGUAGES",
    "NO_TERMS",
    "Analyzer",
    "DictionaryAnalyzer",
    "Language",
    "TermStatistics",
    "count_matrix",
    "document_vectors",
    "find_language",
    "get_analyzer",
    "idf_lucene",
    "idf_okapi",
    "query_vectors",
    "stop_words",
    "term_id",
    "term_ids",
    "tf_weight",
]
