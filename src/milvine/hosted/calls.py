"""What the endpoints do: texts to vectors, a query and documents to scores; each once for threads, once for asyncio."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from milvine._progress import progress
from milvine.errors import InputError, ProviderError

if TYPE_CHECKING:
    from milvine.hosted.client import HostedClient
    from milvine.hosted.tasks import EmbedPlan, Places, RerankPlan

__all__ = ["aembed", "arerank", "embed", "embed_each", "rerank"]

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def embed(client: HostedClient, plan: EmbedPlan, texts: list[str]) -> npt.NDArray[Any]:
    """The vectors of texts, in their order; texts that occur several times are sent once.

    Args:
        client: The provider's client.
        plan: What is asked for.
        texts: At least one text.

    Returns:
        One row a text: float32, int8, or uint8 with eight dimensions an element.

    Raises:
        InputError: A text is empty and the provider takes no empty text, or it is not valid Unicode.
        ProviderError: As `HostedClient.run` raises it; `completed` holds the vectors that came.
    """
    done: dict[int, Any] = {}
    results = client.run(plan.tasks(_unique(plan, texts)))
    with closing(results), _keeping(done), _bar(client, plan, texts) as advance:
        for task, matrix in results:
            done.update(found := task.completed(matrix))
            advance(len(found))
    return _stacked(done)


async def aembed(client: HostedClient, plan: EmbedPlan, texts: list[str]) -> npt.NDArray[Any]:
    """As `embed`, in the running event loop."""
    done: dict[int, Any] = {}
    results = client.arun(plan.tasks(_unique(plan, texts)))
    async with aclosing(results):
        with _keeping(done), _bar(client, plan, texts) as advance:
            async for task, matrix in results:
                done.update(found := task.completed(matrix))
                advance(len(found))
    return _stacked(done)


def embed_each(client: HostedClient, plan: EmbedPlan, texts: Iterator[str], held: int) -> Iterator[npt.NDArray[Any]]:
    """The vectors of texts, one after the other, however many texts there are.

    Several requests are under way at once; what is in memory is bounded by `held` and by what these hold.

    Args:
        client: The provider's client.
        plan: What is asked for.
        texts: The texts, taken as their turn comes.
        held: Texts that are taken together; one that occurs twice among them is sent once.

    Raises:
        InputError: As `embed`.
        ProviderError: As `embed`; `completed` holds the vectors that came and were not yielded.
    """
    waiting: dict[int, Any] = {}
    turn = 0

    def chunks() -> Iterator[Iterator[tuple[str, Places]]]:
        first = 0
        while chunk := list(islice(texts, held)):
            yield _unique(plan, chunk, first)
            first += len(chunk)

    results = client.run(plan.tasks(chain.from_iterable(chunks())), in_order=True)
    with closing(results), _keeping(waiting):
        for task, matrix in results:
            waiting.update(task.completed(matrix))
            while turn in waiting:
                yield waiting.pop(turn)
                turn += 1


def rerank(client: HostedClient, plan: RerankPlan, documents: list[str]) -> dict[int, float]:
    """The scores of the most relevant documents, by their positions.

    Documents that occur several times are sent once and share their score, and those over a provider's limit go in
    several requests, so more than `plan.top_k` may come back.

    Raises:
        InputError: A text is not valid Unicode, or there are more documents than the provider takes at once and the
            scores of several requests cannot be compared.
        ProviderError: As `HostedClient.run` raises it; `completed` holds the scores that came.
    """
    done: dict[int, float] = {}
    results = client.run(plan.tasks(_candidates(plan, documents)))
    with closing(results), _keeping(done):
        for task, scores in results:
            done.update(task.completed(scores))
    return done


async def arerank(client: HostedClient, plan: RerankPlan, documents: list[str]) -> dict[int, float]:
    """As `rerank`, in the running event loop."""
    done: dict[int, float] = {}
    results = client.arun(plan.tasks(_candidates(plan, documents)))
    async with aclosing(results):
        with _keeping(done):
            async for task, scores in results:
                done.update(task.completed(scores))
    return done


@contextmanager
def _keeping(done: Mapping[int, Any]) -> Iterator[None]:
    """Lets no error out without what was done before it."""
    try:
        yield
    except ProviderError as error:
        error.completed = {**done, **error.completed}
        raise


def _bar(client: HostedClient, plan: EmbedPlan, texts: list[str]) -> Any:
    show = client.show_progress if len(texts) > plan.max_texts else False  # one request is no long work
    return progress(f"Embedding by {plan.provider.name}", total=len(texts), show=show)


def _unique(plan: EmbedPlan, texts: list[str], first: int = 0) -> Iterator[tuple[str, Places]]:
    """Each text once, with its prefix and its places, counted from `first`."""
    if "" in texts and not plan.endpoint.takes_empty:
        raise InputError(
            f"texts[{first + texts.index('')}] is an empty string, which {plan.provider.name} refuses; leave it out"
            f" ({texts.count('')} of {len(texts)} texts are empty)"
        )
    _check_unicode(texts, "texts", first)
    if plan.whole:
        return ((plan.prefix + text, (place,)) for place, text in enumerate(texts, first))
    return ((plan.prefix + text, tuple(places)) for text, places in _places(texts, first).items())


def _candidates(plan: RerankPlan, documents: list[str]) -> Iterator[tuple[str, Places]]:
    _check_unicode([plan.query], "query")
    _check_unicode(documents, "documents")
    places = _places(documents)
    most = plan.endpoint.max_documents
    if most is not None and len(places) > most and not plan.endpoint.comparable:
        raise InputError(
            f"{plan.provider.name} scores at most {most:,} documents in one request, not {len(places):,}, and scores of"
            " several requests cannot be compared; pass fewer, such as the best of a first search"
        )
    return ((document, tuple(at)) for document, at in places.items())


def _places(texts: Iterable[str], first: int = 0) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, text in enumerate(texts, first):
        places.setdefault(text, []).append(place)
    return places


def _check_unicode(texts: list[str], what: str, first: int = 0) -> None:
    for position, text in enumerate(texts, first):
        surrogate = _SURROGATE.search(text)
        if surrogate:
            raise InputError(
                f"{what}[{position}] is not valid Unicode: it has a lone surrogate at character {surrogate.start()}."
                " Mend it with text.encode('utf-8', 'replace').decode()"
            )


def _stacked(done: dict[int, Any]) -> npt.NDArray[Any]:
    """The rows as one block; each answer's own block is let go as soon as it is copied."""
    matrix = np.empty((len(done), len(done[0])), done[0].dtype)
    for place in range(len(matrix)):
        matrix[place] = done.pop(place)
    return matrix
