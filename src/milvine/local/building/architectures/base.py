"""What an architecture is, and what all of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Protocol, TypeVar

from milvine.errors import ModelFileError
from milvine.local.building.graph import Graph

# Names of `hidden_act` in a config.json, and the operation that each means.
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
}
TORCH = "sentence-transformers may run it: pip install 'milvine[torch]', and pass backend=\"torch\""
"""What to do about a model that is not known here."""

VALUE = (2,)
"""The value among query, key and value held as one: it stays exact where the others are quantised.

Measured with MiniLM: a twelfth of the work, and three fifths of what quantisation does to a text's vector.
"""
TYPES = "token_type_ids"
"""The input of the tokens' types, int64 of shape `(batch, length)`, in a graph for pairs of texts."""

_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number above 0"),
    "float": ((int, float), "a number above 0"),
    "str": ((str,), "a string"),
    "bool": ((bool,), "true or false"),
}
_TOO_LARGE = {"int": 1 << 31, "float": 3e38}
MOST_LAYERS = 1000
"""A configuration that counts more is refused before so many are built."""


class Config(Protocol):
    """What every architecture's configuration says."""

    @property
    def vocab_size(self) -> int:
        """Rows of the table of token vectors."""

    @property
    def hidden_size(self) -> int:
        """Dimensions of a hidden state."""

    @property
    def max_tokens(self) -> int | None:
        """The most tokens that a text may have; `None` where positions have no end."""


ConfigT = TypeVar("ConfigT", bound=Config)


@dataclass(frozen=True)
class Architecture:
    """How models of a kind are run.

    Attributes:
        model_types: The `model_type`s of a `config.json` that mean it.
        read: A `config.json`'s object, and its path for messages, to the architecture's configuration; raises
            `ModelFileError`.
        build: Adds the encoder to a graph: from token ids and mask (1 for a token, 0 for padding), both int64 of shape
            `(batch, length)`, to the last hidden states, float32 of shape `(batch, length, hidden)`.
        prefixes: What a checkpoint may put before the encoder's names, such as `"bert."`.
    """

    model_types: tuple[str, ...]
    read: Callable[[Mapping[str, Any], str], Any]
    build: Callable[[Graph, Any, str, str], str]
    prefixes: tuple[str, ...] = ()


def read_config(kind: type[ConfigT], config: Mapping[str, Any], source: str, **renamed: str) -> ConfigT:
    """A configuration from the fields of a `config.json` that have its names.

    A field's annotation says what is allowed; `int` and `float` are above 0. A field with a default may be missing.

    Args:
        kind: A frozen dataclass of `int`, `float`, `str` and `bool` fields.
        config: The object of a `config.json`.
        source: Its path.
        **renamed: For a field, the name that it has in the `config.json`, where that is another.

    Raises:
        ModelFileError: A field is missing or of the wrong type.
    """
    values: dict[str, Any] = {}
    missing = []
    for field in fields(kind):  # type: ignore[arg-type]
        name = renamed.get(field.name, field.name)
        if name in config:
            values[field.name] = config[name]
            if problem := _problem(name, config[name], str(field.type)):
                raise ModelFileError(f"{source}: {problem}")
        elif field.default is MISSING:
            missing.append(name)
    if missing:
        raise ModelFileError(f"{source} lacks {', '.join(missing)}")
    return kind(**values)


def check(source: str, *conditions: tuple[bool, str]) -> None:
    """Raise a `ModelFileError` that names the file, with the message of the first condition that does not hold."""
    for holds, problem in conditions:
        if not holds:
            raise ModelFileError(f"{source}: {problem}")


def check_switches(source: str, config: Mapping[str, Any], **known: Any) -> None:
    """Refuse a switch whose value is not the one that is known; null and left out are as known, and 0 is as false."""
    for name, value in known.items():
        given = config.get(name)
        is_known = given is None or given == value or not (given or value)
        check(source, (is_known, f"{name} is {given!r}; only {value!r} is known here"))


def check_activation(source: str, name: str) -> None:
    """Refuse an activation that is not known."""
    known = ", ".join(ACTIVATIONS)
    check(source, (name in ACTIVATIONS, f"the activation {name!r} is not known here; known are {known}"))


def check_layers(source: str, layers: int) -> None:
    """Refuse more layers than any model has, which would fill the memory where layers share their weights."""
    check(source, (layers <= MOST_LAYERS, f"the model has {layers} layers; more than {MOST_LAYERS} are not run here"))


def check_no_more(g: Graph, name: str) -> None:
    """Refuse a checkpoint that holds a tensor of the layer after the last: its configuration counts too few."""
    if g.holds(name):
        raise ModelFileError(f"{g.source} holds {name!r}, a layer more than the model's configuration counts")


def check_heads(
    source: str,
    hidden_size: int,
    heads: int,
    heads_name: str = "num_attention_heads",
    hidden_name: str = "hidden_size",
) -> None:
    """Refuse heads that do not divide the hidden states."""
    check(source, (hidden_size % heads == 0, f"{hidden_name} {hidden_size} is no multiple of {heads_name} {heads}"))


def _problem(name: str, value: Any, annotation: str) -> str | None:
    types, what = _KINDS[annotation]
    is_right = isinstance(value, types) and isinstance(value, bool) == (annotation == "bool")
    if not is_right or (annotation in _TOO_LARGE and not value > 0):  # NaN is not, either
        return f"{name} is {value!r}; it must be {what}"
    is_too_large = annotation in _TOO_LARGE and value >= _TOO_LARGE[annotation]
    return f"{name} is {value!r}, which is too large" if is_too_large else None


def type_vectors(g: Graph, name: str, types: int, size: int) -> str:
    """The vectors of the tokens' types, `(batch, length, size)`; that of the first type, where the graph has no types.

    Args:
        g: The graph; pairs of texts have types, as an input called `TYPES`.
        name: What the checkpoint calls the table.
        types: Rows of the table.
        size: Dimensions of a vector.
    """
    rows = g.weight(name, (types, size))
    return g.op("Gather", rows, TYPES) if g.has_input(TYPES) else g.op("Slice", rows, g.ints(0), g.ints(1), g.ints(0))


class Attention:
    """The parts of multi-head attention that architectures share.

    Args:
        g: The graph.
        ids: Token ids, `(batch, length)`; only their shape is used.
        mask: 1 for a token, 0 for padding, `(batch, length)`.
        hidden: Dimensions of a hidden state.
        heads: How many heads they are split into.
    """

    def __init__(self, g: Graph, ids: str, mask: str, hidden: int, heads: int) -> None:
        self._g = g
        self.hidden, self.heads, self.head_size = hidden, heads, hidden // heads
        self.shape = g.op("Shape", ids)
        self.length = g.op("Slice", self.shape, g.ints(1), g.ints(2), g.ints(0))
        self._rows = g.ints(-1, hidden)
        self._by_head = g.op("Concat", self.shape, g.ints(heads, self.head_size), axis=0)
        self._by_text = g.op("Concat", self.shape, g.ints(hidden), axis=0)
        # Padding gets a score so low that its share of the softmax is exactly 0.
        is_padding = g.op("Sub", g.number(1.0), g.op("Cast", mask, to=1))
        self.padding_scores = g.op("Unsqueeze", g.op("Mul", is_padding, g.number(-1e9)), g.ints(1, 2))

    def rows(self, states: str) -> str:
        """`(batch, length, hidden)` to `(batch * length, hidden)`, as matrix products take them."""
        return self._g.op("Reshape", states, self._rows)

    def by_text(self, rows: str) -> str:
        """The way back."""
        return self._g.op("Reshape", rows, self._by_text)

    def split(self, rows: str) -> str:
        """`(batch * length, hidden)` to `(batch, heads, length, head_size)`."""
        return self._g.op("Transpose", self._g.op("Reshape", rows, self._by_head), perm=[0, 2, 1, 3])

    def mix(self, query: str, key: str, value: str, *, scale: float | None = None, bias: str | None = None) -> str:
        """What attention makes of query, key and value, each split: `(batch * length, hidden)`.

        Args:
            query: As `split` gives it; so are key and value.
            key: Likewise.
            value: Likewise.
            scale: What the products are multiplied by; by default `head_size ** -0.5`.
            bias: Added to the scores before the softmax, of a shape that broadcasts to `(batch, heads, length,
                length)`; by default, and to be contained in it, `padding_scores`.
        """
        g = self._g
        products = g.op("MatMul", query, g.op("Transpose", key, perm=[0, 1, 3, 2]))
        scaled = g.op("Mul", products, g.number(self.head_size**-0.5 if scale is None else scale))
        shares = g.op("Softmax", g.op("Add", scaled, self.padding_scores if bias is None else bias), axis=-1)
        mixed = g.op("Transpose", g.op("MatMul", shares, value), perm=[0, 2, 1, 3])
        return self.rows(mixed)
