"""Building an ONNX graph as one would write it down: every value is a name, every operation a line."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from milvine.errors import ModelFileError
from milvine.local.building.quantization import (
    CONTRIB,
    products_saturate,
    quantized_columns,
    quantized_product,
    quantized_rows,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx
    import onnxruntime as ort

    from milvine.local.running.devices import Provider

OPSET = 20  # the first that has Gelu; onnxruntime runs it since 1.17
IR_VERSION = 9


class Origin(NamedTuple):
    """Where in a checkpoint a graph's tensor stands: under a name, as one of so many equal parts."""

    name: str
    part: int = 0
    parts: int = 1

    def of(self, weights: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The tensor, of the checkpoint's own type."""
        tensor = weights[self.name]
        if self.parts == 1:
            return tensor
        rows = len(tensor) // self.parts
        return tensor[self.part * rows : (self.part + 1) * rows]


@dataclass(frozen=True)
class BuiltGraph:
    """A graph that is done.

    Attributes:
        model: The graph as an ONNX model without its weights.
        tensors: The weights, as they run.
        origins: Where in the checkpoint they stand; of those that were made of the checkpoint's, nothing.
    """

    model: bytes
    tensors: Mapping[str, npt.NDArray[Any]]
    origins: Mapping[str, Origin]

    def session(
        self, options: ort.SessionOptions, providers: Sequence[Provider], source: str = "the checkpoint"
    ) -> ort.InferenceSession:
        """An onnxruntime session that runs the graph; errors call the checkpoint `source`.

        Raises:
            ModelFileError: onnxruntime refuses the graph; the checkpoint is not what the graph takes it for.
        """
        import onnxruntime as ort

        options.add_external_initializers(
            list(self.tensors), [ort.OrtValue.ortvalue_from_numpy(tensor) for tensor in self.tensors.values()]
        )
        try:
            return ort.InferenceSession(self.model, options, providers=list(providers))
        except Exception as error:  # onnxruntime's errors have no other base
            raise ModelFileError(f"onnxruntime cannot run the graph built over {source}: {error}") from error


def run_as_float32(tensor: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """A tensor of a checkpoint in the type and order in which onnxruntime takes it."""
    return np.ascontiguousarray(tensor, dtype=np.float32)


class Graph:
    """An ONNX graph under construction.

    The checkpoint's tensors do not enter the graph: it names them, and a session gets the arrays, which it copies. So
    nothing is serialised, and protobuf's limit of 2 GB does not apply.

    Args:
        weights: The checkpoint: name to array of a floating-point type, run as float32.
        source: What errors call the checkpoint: its path.
        quantize: `"int8"` runs `linear`, `linears` and `product` in 8 bits; see `milvine.local.building.quantization`.
    """

    def __init__(
        self, weights: Mapping[str, npt.NDArray[Any]], source: str = "the checkpoint", *, quantize: str | None = None
    ) -> None:
        self._quantize = quantize
        self._weights = weights
        self.source = source
        self._used: dict[str, npt.NDArray[Any]] = {}
        self._origins: dict[str, Origin] = {}
        self._quantized_rows: dict[str, tuple[str, str]] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, shape: Sequence[int | str], *, is_float: bool = False) -> str:
        """An input of int64, or of float32; a string in `shape` names a dimension that varies."""
        from onnx import TensorProto, helper

        kind = TensorProto.FLOAT if is_float else TensorProto.INT64
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def has_input(self, name: str) -> bool:
        """Whether there is an input of that name."""
        return any(value.name == name for value in self._inputs)

    def output(self, name: str, value: str, shape: Sequence[int | str]) -> None:
        """Give a float32 value out under a name."""
        from onnx import TensorProto, helper

        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operation, of the standard ONNX set unless a `domain` is given; its first output's name."""
        from onnx import helper

        self._count += 1
        output = f"{kind}_{self._count}"
        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def ints(self, *values: int) -> str:
        """A constant vector of int64."""
        return self._constant(np.array(values, dtype=np.int64))

    def byte(self, value: int) -> str:
        """A constant uint8 scalar."""
        return self._constant(np.array(value, dtype=np.uint8))

    def integer(self, value: int) -> str:
        """A constant int64 scalar."""
        return self._constant(np.array(value, dtype=np.int64))

    def number(self, value: float) -> str:
        """A constant float32 scalar."""
        return self._constant(np.array(value, dtype=np.float32))

    def numbers(self, *values: float) -> str:
        """A constant vector of float32."""
        return self._constant(np.array(values, dtype=np.float32))

    def weight(self, name: str, shape: Sequence[int]) -> str:
        """A tensor of the checkpoint.

        Raises:
            ModelFileError: The checkpoint lacks it, or its shape contradicts the configuration.
        """
        self._check(name, shape)
        return self._use(name, Origin(name))

    def parts(self, name: str, count: int, shape: Sequence[int]) -> list[str]:
        """The `count` tensors of `shape` that the checkpoint holds as one, stacked along the first axis.

        Raises:
            ModelFileError: As `weight`.
        """
        self._check(name, (count * shape[0], *shape[1:]))
        return [self._use(f"{name}[{number}]", Origin(name, number, count)) for number in range(count)]

    def holds(self, name: str) -> bool:
        """Whether the checkpoint has a tensor of that name."""
        return name in self._weights

    def linear(self, x: str, name: str, inputs: int, outputs: int, *, bias: bool = True, exact: bool = False) -> str:
        """`x @ weight.T + bias` for rows `x` of shape `(rows, inputs)`; PyTorch stores the weight transposed.

        Args:
            x: The rows.
            name: What the checkpoint calls weight and bias, less `.weight` and `.bias`.
            inputs: Columns of `x`.
            outputs: Columns of the result.
            bias: Whether there is one.
            exact: Whether to stay with float32 where others are quantised.
        """
        matrix = f"{name}.weight"
        self._check(matrix, (outputs, inputs))
        of_outputs = self.weight(f"{name}.bias", (outputs,)) if bias else None
        return self._product(x, matrix, Origin(matrix), of_outputs, exact=exact)

    def linears(
        self,
        x: str,
        name: str,
        inputs: int,
        outputs: int,
        count: int,
        *,
        bias: bool = True,
        exact: Collection[int] = (),
    ) -> list[str]:
        """`linear` with each of the `count` matrices that a checkpoint holds as one; cheaper than cutting its rows.

        Those whose numbers are in `exact` stay with float32.
        """
        matrices = f"{name}.weight"
        self._check(matrices, (count * outputs, inputs))
        biases = self.parts(f"{name}.bias", count, (outputs,)) if bias else [None] * count
        return [
            self._product(x, f"{matrices}[{number}]", Origin(matrices, number, count), of_one, exact=number in exact)
            for number, of_one in enumerate(biases)
        ]

    def product(self, x: str, name: str, inputs: int, outputs: int) -> str:
        """`linear` with the tensor `name` of the checkpoint, of shape `(outputs, inputs)`, and no bias."""
        self._check(name, (outputs, inputs))
        return self._product(x, name, Origin(name), None, exact=False)

    def layer_norm(self, x: str, name: str, size: int, epsilon: float, *, bias: bool = True) -> str:
        """Layer normalisation over the last axis."""
        parameters = [self.weight(f"{name}.weight", (size,))]
        if bias:
            parameters.append(self.weight(f"{name}.bias", (size,)))
        return self.op("LayerNormalization", x, *parameters, epsilon=epsilon)

    def built(self) -> BuiltGraph:
        """The graph as it stands."""
        from onnx import TensorProto, helper

        initializers = list(self._constants)
        for name, tensor in self._used.items():
            kind = helper.np_dtype_to_tensor_dtype(tensor.dtype)
            placeholder = TensorProto(name=name, data_type=kind, dims=tensor.shape)
            placeholder.data_location = TensorProto.EXTERNAL
            placeholder.external_data.add(key="location", value="checkpoint")
            initializers.append(placeholder)
        graph = helper.make_graph(self._nodes, "milvine", self._inputs, self._outputs, initializers)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="milvine")
        return BuiltGraph(model.SerializeToString(), self._used, self._origins)

    def session(self, options: ort.SessionOptions, providers: Sequence[Provider]) -> ort.InferenceSession:
        """An onnxruntime session that runs the graph.

        Raises:
            ModelFileError: onnxruntime refuses the graph; the checkpoint is not what the graph takes it for.
        """
        return self.built().session(options, providers, self.source)

    def _product(self, x: str, name: str, matrix: Origin, bias: str | None, *, exact: bool) -> str:
        if exact or not self._quantize:
            return self.op("Gemm", x, self._use(name, matrix), *([bias] if bias else []), transB=1)
        columns, unsigned = (f"{name}:codes", f"{name}:scales"), products_saturate()
        if columns[0] not in self._used:
            self._used.update(zip(columns, quantized_columns(matrix.of(self._weights), unsigned=unsigned), strict=True))
        if x not in self._quantized_rows:
            self._quantized_rows[x] = quantized_rows(self, x)
        return quantized_product(self, self._quantized_rows[x], columns, bias, unsigned=unsigned)

    def _use(self, name: str, origin: Origin) -> str:
        if name not in self._used:
            self._used[name] = run_as_float32(origin.of(self._weights))
            self._origins[name] = origin
        return name

    def _check(self, name: str, shape: Sequence[int]) -> None:
        """Refuse a checkpoint that lacks a tensor, or has one of another shape."""
        if name not in self._weights:
            raise ModelFileError(f"{self.source} holds no tensor {name!r}, which this architecture needs")
        found = self._weights[name].shape
        if found != tuple(shape):
            raise ModelFileError(
                f"{self.source}: the tensor {name!r} has shape {found}; the model's configuration says {tuple(shape)}"
            )

    def _constant(self, value: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        self._count += 1
        name = f"constant_{self._count}"
        self._constants.append(numpy_helper.from_array(value, name))
        return name
