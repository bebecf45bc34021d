"""Running a ready ONNX file as it is, with what of a model's head it does not hold put behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine.errors import ModelFileError
from milvine.local.building.graph import Graph
from milvine.local.building.heads import Step
from milvine.local.reading.onnx_file import OnnxFile
from milvine.local.running.engine import POOLING_MASK, session_options

if TYPE_CHECKING:
    import numpy.typing as npt

    from milvine.local.running.devices import Provider


class OnnxSession:
    """A session over a ready ONNX file that takes and gives what a graph of ours does.

    Args:
        file: The file.
        task: What it is for; it decides which output is meant.
        head: What is made of that output.
        name: What the result is called.
        providers: What runs it.
        tensors: The weights of the head's steps.
        pools_prompt: Whether a prompt's tokens take part in pooling.
        first_position: The position of a text's first token, where the file wants positions.
        threads: How many threads run a batch.

    Raises:
        ModelFileError: onnxruntime cannot load it, or no output fits the task.
    """

    def __init__(
        self,
        file: OnnxFile,
        task: str,
        head: Sequence[Step],
        name: str,
        providers: list[Provider],
        *,
        tensors: Mapping[str, npt.NDArray[Any]] | None = None,
        pools_prompt: bool = True,
        first_position: int = 0,
        threads: int = 1,
    ) -> None:
        import onnxruntime as ort

        self._file = file
        self._output = file.output_for(task).name
        self._name = name
        self._pooled = "attention_mask" if pools_prompt else POOLING_MASK
        self._first_position = first_position
        try:
            self._session = ort.InferenceSession(str(file.path), session_options(threads), providers=providers)
        except Exception as error:  # onnxruntime's errors have no other base
            raise ModelFileError(f"onnxruntime cannot load {file.path}: {error}") from error
        self._head = _head_session(head, file, tensors or {}, providers) if head else None

    def get_inputs(self) -> list[_Named]:
        """The inputs that are not made here, under our names."""
        names = [name for name in self._file.inputs if name != "position_ids"]
        return [_Named(name) for name in dict.fromkeys([*names, self._pooled])]

    def get_outputs(self) -> list[_Named]:
        """The one output."""
        return [_Named(self._name)]

    def run(
        self, names: Sequence[str] | None, feed: Mapping[str, npt.NDArray[np.int64]]
    ) -> list[npt.NDArray[np.float32]]:
        """What onnxruntime's `InferenceSession.run` gives: the output as float32."""
        if names not in (None, [self._name]):
            raise ValueError(f"the output is {self._name}, not {names}")
        ids = feed["input_ids"]
        given = dict(feed)
        if "position_ids" in self._file.inputs:
            positions = np.arange(self._first_position, self._first_position + ids.shape[1], dtype=np.int64)
            given["position_ids"] = np.broadcast_to(positions, ids.shape)
        inputs = {
            value.name: given[name].astype(np.int32) if value.is_short else np.ascontiguousarray(given[name])
            for name, value in self._file.inputs.items()
        }
        (found,) = self._session.run([self._output], inputs)
        states: npt.NDArray[np.float32] = found.astype(np.float32, copy=False)
        if self._head is None:
            return [states]
        return list(self._head.run(None, {"states": states, "mask": feed[self._pooled]}))


@dataclass(frozen=True)
class _Named:
    name: str


def _head_session(
    head: Sequence[Step], file: OnnxFile, tensors: Mapping[str, npt.NDArray[Any]], providers: list[Provider]
) -> Any:
    g = Graph(tensors, f"the head of {file.path}")
    x = g.input("states", ["batch", "length", "hidden"], is_float=True)
    mask = g.input("mask", ["batch", "length"])
    for step in head:
        x = step.build(g, x, mask)
    g.output("result", x, ["batch", "dim"])
    return g.session(session_options(), providers)
