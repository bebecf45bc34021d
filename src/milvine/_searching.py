"""What `Collection.search` does: checked options, candidates of each field, fusion, reranking, hits."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import isnan
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from milvine._texts import as_text, as_texts
from milvine.errors import InputError, InputTypeError
from milvine.types import Hit

if TYPE_CHECKING:
    from milvine._fields import FieldSet, Kind, Vectors
    from milvine.model.base import BaseRerankFunction
    from milvine.store import Call, Match, Store

Result = TypeVar("Result")
Mode = Literal["dense", "sparse", "lexical", "hybrid"]
MODES: dict[str, tuple[str, ...]] = {
    "dense": ("dense",),
    "sparse": ("sparse",),
    "lexical": ("lexical",),
    "hybrid": ("dense", "sparse", "lexical", "multivector"),
}
FINDS = {"dense": "search_dense", "sparse": "search_sparse", "lexical": "search_lexical"}
"""By which method of a store fields of each kind find."""
SCORED = "multivector"
"""The kind of fields that find nothing, and score what others found."""
CANDIDATES = 100  # from each field, before fusion
RERANKED = 30  # of the fused list
MAX_LIMIT = 16_384  # Milvus' own
_NAME = re.compile(r"(?!(?i:and|or|not|in|like|is|null|exists|iso|interval|true|false)$)[A-Za-z_]\w*", re.ASCII)


class SearchOptions(TypedDict, total=False):
    """The keyword arguments of `Collection.search`, which explains them."""

    limit: int
    offset: int
    mode: Mode
    fields: Iterable[str] | None
    filter: str | None
    filter_params: Mapping[str, Any] | None
    fusion: str
    weights: Mapping[str, float] | None
    candidates: int
    output_fields: Iterable[str] | None
    group_by: str | None
    threshold: float | None
    reranker: BaseRerankFunction | Literal[False] | None
    rerank_weight: float | None
    rerank_limit: int | None


@dataclass(frozen=True)
class Search:
    """A search that has been checked; its attributes are `Collection.search`'s arguments.

    Attributes:
        fields: The fields that are searched, and their kinds.
        wanted: Hits that must be there before they are cut to what was asked for.
        depth: Candidates taken from each field.
    """

    queries: list[str]
    fields: dict[str, Kind]
    wanted: int
    depth: int
    limit: int
    offset: int
    filter: str | None
    fusion: str
    weights: Mapping[str, float] | None
    output_fields: frozenset[str] | None
    group_by: str | None
    threshold: float | None
    reranker: BaseRerankFunction | None
    rerank_weight: float
    rerank_limit: int | None


def prepare(
    fields: FieldSet,
    default_reranker: BaseRerankFunction | None,
    query: str | Iterable[str],
    options: SearchOptions,
) -> Search:
    """The search that the arguments of `Collection.search` ask for.

    Raises:
        InputError: See `Collection.search`.
        InputTypeError: Likewise.
        FilterError: Likewise.
    """
    from milvine.rank import RERANK_WEIGHT
    from milvine.rank.fusion import checked
    from milvine.store.filters import fill

    if unknown := options.keys() - SearchOptions.__annotations__.keys():
        raise InputTypeError(
            f"a search has no option {sorted(unknown)[0]!r}; it has {', '.join(SearchOptions.__annotations__)}"
        )
    queries = [_checked_query(text) for text in ([query] if isinstance(query, str) else as_texts(query, "query"))]
    chosen = _chosen(fields, options.get("mode", "hybrid"), options.get("fields"))
    limit, offset = options.get("limit", 10), options.get("offset", 0)
    _check_count("limit", limit)
    _check_count("offset", offset, least=0)
    if limit + offset > MAX_LIMIT:
        raise InputError(f"limit and offset make {limit + offset:,} together, and {MAX_LIMIT:,} are allowed")
    candidates = options.get("candidates", CANDIDATES)
    _check_count("candidates", candidates)
    weights, fusion = options.get("weights"), options.get("fusion", "weighted")
    checked(chosen, fusion, weights)
    output_fields = options.get("output_fields")
    group_by, threshold = options.get("group_by"), options.get("threshold")
    given, weight = options.get("reranker"), options.get("rerank_weight")
    reranker = default_reranker if given is None else checked_reranker(given or None)
    budget = options.get("rerank_limit")
    if budget is not None:
        _check_count("rerank_limit", budget)
    wanted = max(limit + offset, budget or RERANKED) if reranker else limit + offset
    return Search(
        queries,
        chosen,
        wanted=wanted,
        depth=max(candidates, wanted),
        limit=limit,
        offset=offset,
        filter=fill(options.get("filter"), options.get("filter_params")),
        fusion=fusion,
        weights=weights,
        output_fields=None if output_fields is None else frozenset(as_texts(output_fields, "output_fields")),
        group_by=None if group_by is None else _checked_key(group_by),
        threshold=None if threshold is None else _checked_number("threshold", threshold),
        reranker=reranker,
        rerank_weight=RERANK_WEIGHT if weight is None else _checked_share("rerank_weight", weight),
        rerank_limit=budget,
    )


@dataclass(frozen=True)
class _Query:
    """One query, and what each field is asked: its vector, or the text itself."""

    text: str
    asked: dict[str, Any]


_Lists = dict[str, "list[Match]"]  # what each field answers
_Steps = Generator["list[Call]", "list[Any]", Result]
"""Something that a store must be asked for, whoever asks: yields what may be asked at once, is sent what came of it."""


def answer(store: Store, fields: FieldSet, search: Search, vectors: Vectors) -> list[list[Hit]]:
    """The hits of each query, best first.

    Args:
        store: The collection's store.
        fields: The collection's fields.
        search: What to search for.
        vectors: The queries' vectors for those of the searched fields that hold vectors of functions.
    """
    steps = _answer(fields, search, vectors)
    came: Any = None
    while True:
        try:
            calls = steps.send(came)
        except StopIteration as end:
            return _finished(search, end.value)
        came = [getattr(store, call.method)(*call.arguments) for call in calls]


async def aanswer(store: Store, fields: FieldSet, search: Search, vectors: Vectors) -> list[list[Hit]]:
    """As `answer`, without blocking the event loop: a server is awaited, all else runs in a thread."""
    import asyncio

    from milvine.store import AsyncStore

    if not isinstance(store, AsyncStore):
        return await asyncio.to_thread(answer, store, fields, search, vectors)
    steps = _answer(fields, search, vectors)
    came: Any = None
    while True:
        try:
            calls = steps.send(came)
        except StopIteration as end:
            return await asyncio.to_thread(_finished, search, end.value)
        came = await store.ask(calls)


def _answer(fields: FieldSet, search: Search, vectors: Vectors) -> _Steps[list[list[Hit]]]:
    queries = [
        _Query(text, {name: vectors[name][at] if name in vectors else text for name in search.fields})
        for at, text in enumerate(search.queries)
    ]
    found = yield from _ranked(search, queries, search.filter)
    if search.group_by is None:
        return (yield from _fused(fields, search, queries, found))
    answers = []
    for query, lists in zip(queries, found, strict=True):
        answers.append((yield from _grouped(fields, search, query, lists)))
    return answers


def _ranked(search: Search, queries: list[_Query], filter_: str | None) -> _Steps[list[_Lists]]:
    """For each query every field's list; that of a multi-vector field holds all that the others found."""
    from milvine.store import Call

    if not queries:
        return []
    asked = {name: [query.asked[name] for query in queries] for name in search.fields}
    finding = {name: FINDS[kind] for name, kind in search.fields.items() if kind in FINDS}
    found = yield [Call(method, (name, asked[name], search.depth, filter_)) for name, method in finding.items()]
    by_field = dict(zip(finding, found, strict=True))
    if scoring := [name for name, kind in search.fields.items() if kind == SCORED]:
        lists = list(by_field.values())
        union = [list({match.id: None for own in lists for match in own[at]}) for at in range(len(queries))]
        scored = yield [Call("score", (name, asked[name], union)) for name in scoring]
        for name, scores in zip(scoring, scored, strict=True):
            by_field[name] = [_best_first(own) for own in scores]
    return [{name: by_field[name][at] for name in search.fields} for at in range(len(queries))]


def _best_first(scores: Mapping[str, float]) -> list[Match]:
    from milvine.store import Match

    return [Match(*place) for place in sorted(scores.items(), key=lambda place: (-place[1], place[0]))]


def _fused(
    fields: FieldSet, search: Search, queries: list[_Query], found: list[_Lists], *, whole: bool = False
) -> _Steps[list[list[Hit]]]:
    """For each query the hits that are wanted, or the whole list, best first."""
    from milvine.rank import find_matches, fuse
    from milvine.store import Call

    wanted = None if whole else search.wanted
    beyond = yield from _beyond(search, queries, found, wanted)
    fused = [
        fuse(lists, search.fusion, search.weights, scores, wanted) for lists, scores in zip(found, beyond, strict=True)
    ]
    (records,) = yield [Call("get", (list({place.id: None for places in fused for place in places}),))]
    answers = []
    for query, places in zip(queries, fused, strict=True):
        find = None if fields.analyzer is None else partial(find_matches, fields.analyzer, query.text)
        hits = [
            Hit(place.id, record.text, place.score, record.metadata, place.fields, _find=find)
            for place in places
            if (record := records.get(place.id)) is not None  # or it was deleted since it was found
        ]
        answers.append(hits)
    return answers


def _beyond(
    search: Search, queries: list[_Query], found: list[_Lists], wanted: int | None
) -> _Steps[list[dict[str, dict[str, float]]]]:
    """For each query the scores in every field of what other fields found, as far as they matter.

    A field's list may end before a hit of another's, and a fusion that took what it does not know for nothing would put
    that hit too far down. A sparse or lexical list that is not full holds all that scores above 0.
    """
    from milvine.rank import unscored
    from milvine.store import Call

    beyond: list[dict[str, dict[str, float]]] = [{} for _ in queries]
    for at, lists in enumerate(found):
        ended = [name for name, own in lists.items() if len(own) < search.depth]
        missing = unscored(lists, search.fusion, search.weights, ended, wanted)
        beyond[at] = {name: dict.fromkeys(ids, 0.0) for name, ids in missing.items()}
    asked: dict[str, list[int]] = {}
    for name, kind in search.fields.items():
        full = [kind == "dense" or len(lists[name]) >= search.depth for lists in found]
        if those := [at for at, scores in enumerate(beyond) if scores[name] and full[at]]:
            asked[name] = those
    if asked:
        came = yield [
            Call("score", (name, [queries[at].asked[name] for at in those], [list(beyond[at][name]) for at in those]))
            for name, those in asked.items()
        ]
        for (name, those), scored in zip(asked.items(), came, strict=True):
            for at, scores in zip(those, scored, strict=True):
                beyond[at][name] = {id_: scores[id_] for id_ in beyond[at][name] if id_ in scores}
    return beyond


def _grouped(fields: FieldSet, search: Search, query: _Query, found: _Lists) -> _Steps[list[Hit]]:
    """The best hit of each group, best first; what has no string, number or boolean there is a group of its own.

    Where the candidates are of too few groups, more are taken from the other groups.
    """
    lists, latest = dict(found), found
    while True:
        groups: dict[str, Hit] = {}
        (hits,) = yield from _fused(fields, search, [query], [lists], whole=True)
        for hit in hits:
            value = hit.metadata.get(str(search.group_by))
            groups.setdefault(json.dumps(value) if isinstance(value, (str, int, float)) else f"id {hit.id}", hit)
        if len(groups) >= search.wanted or all(len(own) < search.depth for own in latest.values()):
            return list(groups.values())[: search.wanted]
        (latest,) = yield from _ranked(search, [query], _other_groups(search, groups.values()))
        known = {name: {id_ for id_, _ in own} for name, own in lists.items()}
        fresh = {name: [match for match in own if match.id not in known[name]] for name, own in latest.items()}
        if not any(fresh.values()):
            return list(groups.values())
        lists = {name: [*lists[name], *fresh[name]] for name in lists}
        for name, kind in search.fields.items():
            if kind == SCORED:  # what is found later may score higher
                lists[name] = _best_first(dict(lists[name]))


def _other_groups(search: Search, hits: Iterable[Hit]) -> str:
    """The search's filter, without these hits' groups."""
    from milvine.store.filters import literal

    key = str(search.group_by)
    clauses = [f"({search.filter})"] if search.filter else []
    values = [hit.metadata[key] for hit in hits if isinstance(hit.metadata.get(key), (str, int, float))]
    if _NAME.fullmatch(key):
        # A list in a filter is of one type.
        by_type = ([value for value in values if type(value) is kind] for kind in (str, bool, int, float))
        clauses += [f"not ({key} in {literal(same)})" for same in by_type if same]
    else:  # Milvus Lite knows `in` of plain names alone
        name = f"$meta[{literal(key)}]"
        clauses.append(f"not ({' or '.join(f'{name} == {literal(value)}' for value in values)})")
    return " and ".join(clauses)


def _finished(search: Search, answers: list[list[Hit]]) -> list[list[Hit]]:
    """What comes back of the hits that were wanted of each query."""
    return [_cut(search, query, hits) for query, hits in zip(search.queries, answers, strict=True)]


def _cut(search: Search, query: str, hits: list[Hit]) -> list[Hit]:
    from milvine.rank import rerank

    if search.reranker:
        hits = rerank(search.reranker, query, hits, search.rerank_weight, search.rerank_limit)
    if search.threshold is not None:
        hits = [hit for hit in hits if hit.score >= search.threshold]
    hits = hits[search.offset : search.offset + search.limit]
    if search.output_fields is None:
        return hits
    return [
        replace(hit, metadata={key: hit.metadata[key] for key in hit.metadata if key in search.output_fields})
        for hit in hits
    ]


# Checks


def checked_reranker(reranker: BaseRerankFunction | None) -> BaseRerankFunction | None:
    """The reranker, if it is one.

    Raises:
        InputTypeError: It is something else.
    """
    from milvine.model.base import BaseRerankFunction

    if reranker is not None and not isinstance(reranker, BaseRerankFunction):
        raise InputTypeError(f"reranker must be a rerank function of milvine.model, not {type(reranker).__name__}")
    return reranker


def _chosen(fields: FieldSet, mode: str, names: Iterable[str] | None) -> dict[str, Kind]:
    """The fields that a mode or their names mean."""
    if mode not in MODES:
        raise InputError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    there = ", ".join(f"{name} ({kind})" for name, kind in fields.kinds.items())
    if names is None:
        chosen = {name: kind for name, kind in fields.kinds.items() if kind in MODES[mode]}
        if not chosen:
            raise InputError(f"mode {mode!r} needs a {mode} field, and the collection has none: it has {there}")
        return chosen
    if mode != "hybrid":
        raise InputError(f"give either fields or a mode, not both ({mode!r})")
    listed = as_texts(names, "fields")
    unknown = [name for name in listed if name not in fields.kinds]
    if unknown or not listed or len(set(listed)) < len(listed):
        raise InputError(f"fields must name some of the collection's fields, each once, not {listed}: it has {there}")
    if all(fields.kinds[name] == SCORED for name in listed):
        raise InputError(
            f"fields={listed}: a multi-vector field scores what others find, and finds nothing itself; name one, too:"
            f" the collection has {there}"
        )
    return {name: fields.kinds[name] for name in listed}


def _checked_query(query: str) -> str:
    if not query.strip():
        raise InputError("the query is blank; ask something")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the query {query!r} is no valid Unicode: {error}") from error
    return query


def _check_count(name: str, value: int, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputTypeError(f"{name} must be an integer, not {type(value).__name__} ({value!r})")
    if not least <= value <= MAX_LIMIT:
        raise InputError(f"{name} must be from {least} to {MAX_LIMIT:,}, not {value}")


def _checked_key(key: str) -> str:
    if not as_text(key, "group_by"):
        raise InputError('group_by is empty; name a metadata key, such as "document"')
    return key


def _checked_number(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputTypeError(f"{name} must be a number, not {type(value).__name__} ({value!r})")
    if isnan(value):
        raise InputError(f"{name} must be a number, not NaN")
    return float(value)


def _checked_share(name: str, value: float) -> float:
    if not 0 <= _checked_number(name, value) <= 1:
        raise InputError(f"{name} must be from 0 to 1, not {value}")
    return value
