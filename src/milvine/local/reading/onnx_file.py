"""Ready ONNX files: what they take and give is read from them, not assumed.

Exports differ: some give the tokens' states, some a vector, some logits; some want positions, some 32-bit integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from milvine.errors import ModelFileError
from milvine.local.building.graph import Graph
from milvine.local.building.heads import Step, not_finite

if TYPE_CHECKING:
    import onnx

ONNX_FILES = (
    "model.onnx",
    "model_optimized.onnx",
    "model_fp16.onnx",
    "model_quantized.onnx",
    "model_int8.onnx",
    "model_uint8.onnx",
)
"""The names of published files, in the order in which they are looked for, in a folder and in its folder `onnx`."""

INPUTS = {
    "input_ids": ("input_ids", "input", "ids", "token_ids", "input_word_ids"),
    "attention_mask": ("attention_mask", "mask", "input_mask"),
    "token_type_ids": ("token_type_ids", "segment_ids", "type_ids", "input_type_ids"),
    "position_ids": ("position_ids",),
}
"""What exporters call the inputs that are known here."""

STATES = ("last_hidden_state", "token_embeddings", "hidden_states")
"""What they call the tokens' states, `(batch, length, hidden)`."""
VECTORS = ("sentence_embedding", "sentence_embeddings", "text_embeds", "embeddings")
"""What they call a text's vector, `(batch, dim)`."""

DYNAMIC = {
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM",
    "MatMulIntegerToFloat",
    "QAttention",
}
"""Operations that scale by what they are given: a text's result depends on those that run beside it."""

_PADDED_POSITIONS = ("roberta", "xlm-roberta", "camembert")
"""Architectures that count positions from behind the id of padding, by their `model_type`."""


@dataclass(frozen=True)
class OnnxInput:
    """An input: what the file calls it, and whether it takes 32-bit integers."""

    name: str
    is_short: bool


@dataclass(frozen=True)
class OnnxOutput:
    """An output of floating-point numbers: its name, its rank, and its last dimension, where the file says them."""

    name: str
    rank: int | None
    width: int | None


@dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file takes and gives.

    Attributes:
        path: Where it lies.
        inputs: Its inputs, by our names for them: keys of `INPUTS`.
        outputs: Its outputs.
        quantization: `"int8"` where it quantises as it runs, so that each sequence must run alone.
    """

    path: Path
    inputs: Mapping[str, OnnxInput]
    outputs: tuple[OnnxOutput, ...]
    quantization: str | None

    def output_for(self, task: str) -> OnnxOutput:
        """The output that a task is about, its rank known.

        A text's own vector is preferred to its tokens' states, and either to what a pretraining head gives.

        Raises:
            ModelFileError: There is none, or it cannot be said which.
        """
        ranked = [OnnxOutput(each.name, each.rank or _RANKS.get(each.name), each.width) for each in self.outputs]
        names, ranks = _WANTED[task]
        named = [each for name in names for each in ranked if each.name == name and each.rank in ranks]
        fitting = [each for each in ranked if each.rank in ranks and each.name != "pooler_output"]
        of_tokens = [each for each in fitting if each.rank == 3]
        for found in (named[:1], of_tokens, fitting, ranked):
            if len(found) == 1 and found[0].rank in ranks:
                return found[0]
        listed = ", ".join(f"{each.name} of rank {each.rank or 'unknown'}" for each in ranked)
        raise ModelFileError(
            f"{self.path} gives {listed or 'no output'}; for a {task} model one output must be clear: one named"
            f" {', '.join(names)}, or the only one of rank {' or '.join(map(str, ranks))}"
        )


_RANKS = dict.fromkeys(STATES, 3) | dict.fromkeys(VECTORS, 2)
_WANTED: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "dense": ((*VECTORS, *STATES), (2, 3)),
    "sparse": (("logits", *VECTORS), (2, 3)),
    "reranker": (("logits", "scores"), (2,)),
}
"""For each task, the names of its output, the best first, and the ranks that it may have."""


@dataclass(frozen=True)
class MaxTerms:
    """The weight of every token of the vocabulary, from the logits of a text's tokens; see `task_heads.Splade`."""

    def width(self, inputs: int) -> int:
        """See `Step`."""
        return inputs

    def build(self, g: Graph, x: str, mask: str) -> str:
        """See `Step`."""
        is_token = g.op("Cast", g.op("Unsqueeze", mask, g.ints(2)), to=9)
        best = g.op("ReduceMax", g.op("Where", is_token, x, g.number(0.0)), g.ints(1), keepdims=0)
        best = g.op("Add", g.op("Relu", best), not_finite(g, x))
        return g.op("Log", g.op("Add", best, g.number(1.0)))

    def __str__(self) -> str:
        return "splade"


def find_onnx_file(folder: Path) -> Path | None:
    """The ONNX file of a folder, if it has one: the first of `ONNX_FILES`."""
    places = [folder / place / name for name in ONNX_FILES for place in ("", "onnx")]
    return next((path for path in places if path.is_file()), None)


def read_onnx_file(path: Path) -> OnnxFile:
    """What an ONNX file takes and gives; nothing of it is run.

    Raises:
        ModelFileError: It is no ONNX file, takes what is not known here or batches of one size only, or its weights lie
            outside its folder or are missing.
    """
    model = _load(path)
    initializers = {each.name for each in model.graph.initializer}
    inputs: dict[str, OnnxInput] = {}
    for value in model.graph.input:
        if value.name in initializers:
            continue
        name = next((ours for ours, theirs in INPUTS.items() if value.name in theirs), None)
        if name is None or name in inputs:
            known = ", ".join(INPUTS)
            raise ModelFileError(f"{path} wants the input {value.name!r}; known are {known}, each once")
        inputs[name] = _input(path, value)
    if "input_ids" not in inputs:
        listed = ", ".join(value.name for value in inputs.values()) or "none"
        raise ModelFileError(f"{path} has no input for token ids, such as input_ids; its inputs are: {listed}")
    if "attention_mask" not in inputs:
        raise ModelFileError(
            f"{path} has no input for the attention mask, so a text's result would depend on the padding of its batch"
        )
    kinds = {node.op_type for node in _nodes(model)}
    _check_external(path, model)
    return OnnxFile(
        path,
        inputs,
        tuple(_output(value) for value in model.graph.output if value.type.tensor_type.elem_type in (1, 10, 16)),
        "int8" if kinds & DYNAMIC else None,
    )


def first_position(config: Mapping[str, Any]) -> int:
    """The position of a text's first token, going by the model's `config.json`."""
    return int(config.get("pad_token_id", 1)) + 1 if config.get("model_type") in _PADDED_POSITIONS else 0


@dataclass(frozen=True)
class ReadyConfig:
    """What is known of a ready ONNX file's model, under the names of an architecture's configuration."""

    hidden_size: int
    vocab_size: int
    max_tokens: int | None


def ready_config(file: OnnxFile, task: str, raw: Mapping[str, Any]) -> ReadyConfig:
    """What the file says, and where it is silent, the `config.json` that lies beside it.

    Raises:
        ModelFileError: Neither says how wide the output is; or no output fits the task.
    """
    output = file.output_for(task)
    width = output.width or raw.get("vocab_size" if task == "sparse" else "hidden_size")
    if task == "reranker":
        width = output.width or 1
    if not isinstance(width, int):
        raise ModelFileError(
            f"{file.path} does not say the dimensions of {output.name}, and no config.json beside it says hidden_size"
        )
    positions = raw.get("max_position_embeddings")
    known = isinstance(positions, int) and not isinstance(positions, bool)
    return ReadyConfig(width, width, int(positions or 0) - first_position(raw) if known else None)


def ready_head(file: OnnxFile, task: str, states_head: tuple[Step, ...] | None = None) -> tuple[Step, ...] | None:
    """What is made of the file's output.

    Args:
        file: The file.
        task: What it is for.
        states_head: What is made of tokens' states.

    Returns:
        The steps; none of them where the file gives vectors or logits; `states_head` where it gives tokens' states.

    Raises:
        ModelFileError: No output fits the task.
    """
    if file.output_for(task).rank == 2:
        return ()
    return (MaxTerms(),) if task == "sparse" else states_head


def _load(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise ModelFileError(f"{path} is not a usable ONNX file: {error}") from error
    if not model.graph.node:
        raise ModelFileError(f"{path} is not a usable ONNX file: it holds no graph")
    return model


def _input(path: Path, value: onnx.ValueInfoProto) -> OnnxInput:
    from onnx import TensorProto

    kind = value.type.tensor_type
    if kind.elem_type not in (TensorProto.INT64, TensorProto.INT32):
        what = TensorProto.DataType.Name(kind.elem_type)
        raise ModelFileError(f"{path} wants the input {value.name!r} as {what}; known are INT64 and INT32")
    fixed = [dim.dim_value for dim in kind.shape.dim if dim.HasField("dim_value")]
    if fixed:
        shape = ", ".join(str(dim.dim_value or dim.dim_param or "any") for dim in kind.shape.dim)
        raise ModelFileError(
            f"{path} takes the input {value.name!r} in the fixed shape ({shape}) only; export it again with batch and"
            " length as dynamic axes"
        )
    return OnnxInput(value.name, kind.elem_type == TensorProto.INT32)


def _output(value: onnx.ValueInfoProto) -> OnnxOutput:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return OnnxOutput(value.name, None, None)
    dims = kind.shape.dim
    return OnnxOutput(value.name, len(dims), (dims[-1].dim_value or None) if dims else None)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph, and those within its operations."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in _graphs(model.graph):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for graph in _graphs(model.graph):
        yield from graph.initializer
    for node in _nodes(model):
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors


def _check_external(path: Path, model: onnx.ModelProto) -> None:
    """Refuse weights that lie elsewhere than beside the file: such a path could name any file of the machine."""
    from onnx import TensorProto

    places = {
        entry.value
        for tensor in _tensors(model)
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for place in sorted(places):
        inside = PurePosixPath(place)
        if not place or inside.is_absolute() or ".." in inside.parts or "\\" in place or ":" in place:
            raise ModelFileError(f"{path} has weights in {place!r}, which leaves its folder")
        if not (path.parent / place).is_file():
            raise ModelFileError(f"{path} has weights in {place}, and there is no such file beside it")
