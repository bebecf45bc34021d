"""A model's files made into a session: a graph built over a checkpoint, or a ready ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from milvine.errors import ModelFileError
from milvine.local.building.architectures import find_architecture
from milvine.local.building.architectures.base import TYPES, Architecture
from milvine.local.building.graph import BuiltGraph, Graph
from milvine.local.building.graph_cache import cached_graph
from milvine.local.building.heads import Pooling, width_of
from milvine.local.building.quantization import products_saturate
from milvine.local.building.task_heads import TASK_HEADS
from milvine.local.building.token_heads import EachToken
from milvine.local.reading.json_files import read_json
from milvine.local.reading.onnx_file import first_position, read_onnx_file, ready_head
from milvine.local.reading.weights import encoder_names, read_weights
from milvine.local.running.engine import POOLING_MASK, session_options
from milvine.local.running.onnx_session import OnnxSession
from milvine.local.spec import OUTPUTS, Heads, ModelFiles, ModelSpec

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnxruntime as ort

    from milvine.local.running.devices import Provider


def built_session(
    spec: ModelSpec,
    files: ModelFiles,
    *,
    max_length: int,
    known: int,
    providers: list[Provider],
    quantize: str | None = None,
    threads: int = 1,
) -> ort.InferenceSession:
    """A session over a graph that is built from a checkpoint, with an output for each of the model's heads.

    Args:
        spec: The model.
        files: Its files.
        max_length: Tokens that a text may have.
        known: How many tokens the tokenizer knows.
        providers: What runs it.
        quantize: As in `LocalOptions`.
        threads: How many threads run a batch.

    Raises:
        ModelFileError: The files contradict each other or the model, or cannot be read.
    """
    source = str(files.config)
    raw = read_json(Path(source), dict)
    architecture = find_architecture(raw, source)
    config = architecture.read(raw, source)
    heads: Heads = spec.heads or {OUTPUTS[spec.task]: TASK_HEADS[spec.task](raw, config, source)}
    _check(spec, heads, config, source, max_length, known)
    tensors: dict[str, npt.NDArray[Any]] = {}
    for prefix, path in files.weights:
        named = encoder_names(read_weights(path), () if prefix else architecture.prefixes)
        tensors |= {prefix + name: tensor for name, tensor in named.items()}
    weights = str(files.weights[0][1])

    def build() -> BuiltGraph:
        return _graph(Graph(tensors, weights, quantize=quantize), spec, heads, architecture, config)

    description: list[Any] = [raw, spec.task, spec.typed, spec.pools_prompt, dict(spec.dims), repr(heads)]
    if quantize:  # codes depend on the weights' values, and on what the processor's products take
        fingerprint = spec.row.fingerprint if spec.row else files.fingerprint()
        description += [quantize, fingerprint, products_saturate()]
    return cached_graph(tensors, description, build).session(session_options(threads), providers, weights)


def _graph(g: Graph, spec: ModelSpec, heads: Heads, architecture: Architecture, config: Any) -> BuiltGraph:
    ids, mask = g.input("input_ids", ["batch", "length"]), g.input("attention_mask", ["batch", "length"])
    pooled = mask if spec.pools_prompt else g.input(POOLING_MASK, ["batch", "length"])
    if spec.task == "reranker" and spec.typed and getattr(config, "type_vocab_size", 0) > 1:
        g.input(TYPES, ["batch", "length"])
    states = architecture.build(g, config, ids, mask)
    for name, head in heads.items():
        x = states
        for step in head:
            x = step.build(g, x, pooled)
        is_of_each_token = any(isinstance(step, EachToken) for step in head)
        g.output(name, x, ["batch", *(["length"] if is_of_each_token else []), spec.dims[name]])
    return g.built()


def ready_session(spec: ModelSpec, files: ModelFiles, providers: list[Provider], threads: int = 1) -> OnnxSession:
    """A session over an ONNX file as it is, with what of the model's head the file does not hold put behind it.

    Raises:
        ModelFileError: It cannot be run here; see `read_onnx_file` and `OnnxSession`.
    """
    (_, path), *others = files.weights
    file = read_onnx_file(path)
    name = OUTPUTS[spec.task]
    head = ready_head(file, spec.task, (spec.heads or {}).get(name, (Pooling(("mean",)),)))
    raw = read_json(files.config, dict) if files.config else {}
    tensors = {prefix + key: tensor for prefix, part in others for key, tensor in read_weights(part).items()}
    return OnnxSession(
        file,
        spec.task,
        head or (),
        name,
        providers,
        tensors=tensors,
        pools_prompt=spec.pools_prompt,
        first_position=first_position(raw),
        threads=threads,
    )


def _check(spec: ModelSpec, heads: Heads, config: Any, source: str, max_length: int, known: int) -> None:
    what = "vocab_size" if spec.task == "sparse" else "hidden_size"
    dims = {name: width_of(head, config.hidden_size) for name, head in heads.items()}
    for fits, problem in (
        (dims == dict(spec.dims), f"{what} is {getattr(config, what)}, not {spec.dim}"),
        (
            config.max_tokens is None or config.max_tokens >= max_length,
            f"a text may have {config.max_tokens} tokens, fewer than the {max_length} wanted",
        ),
        (config.vocab_size >= known, f"vocab_size is {config.vocab_size}, fewer than tokenizer.json's {known}"),
    ):
        if not fits:
            raise ModelFileError(f"{source} contradicts {spec.name}: {problem}")
