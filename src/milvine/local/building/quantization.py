"""Matrix products in 8 bits: a scale for each column of the weights, and one for each row of what they multiply.

A row is a token's state, and its scale comes from it alone, so that a text's vector does not depend on the texts beside
it; with one scale for a whole batch, as onnxruntime's `DynamicQuantizeMatMul` has it, it does.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from milvine.local.building.graph import Graph

CONTRIB = "com.microsoft"
"""The domain of onnxruntime's own operations."""
LARGEST = 127
"""The largest code; codes are symmetric about 0."""
ZERO = 128
"""What unsigned codes are shifted by: those of rows always, because the quickest products take one factor unsigned."""

_AT_ONCE = 1024  # rows of a matrix quantised at a time; bounds the memory that takes


def quantized_columns(
    weight: npt.NDArray[Any], *, unsigned: bool = False
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    """A matrix as `codes * scales`, rounded; the largest magnitude of a column of `codes` is 127.

    Args:
        weight: Of a floating-point type and shape `(outputs, inputs)`, as PyTorch stores it.
        unsigned: Whether to give `codes + ZERO` as uint8 instead of int8.

    Returns:
        The codes, shape `(inputs, outputs)`, and the scales, shape `(outputs,)`.
    """
    outputs, inputs = weight.shape
    scales: npt.NDArray[np.float32] = np.maximum(weight.max(axis=1), -weight.min(axis=1)).astype(np.float32) / LARGEST
    scales[scales == 0] = 1
    codes: npt.NDArray[Any] = np.empty((inputs, outputs), dtype=np.uint8 if unsigned else np.int8)
    for start in range(0, outputs, _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        codes[:, rows] = np.rint(weight[rows] / scales[rows, None]).T + (ZERO if unsigned else 0)
    return codes, scales


def quantized_rows(g: Graph, x: str) -> tuple[str, str]:
    """Rows as `(codes - ZERO) * scales`, rounded; the largest magnitude of a row of `codes - ZERO` is 127.

    Args:
        g: The graph that it is added to.
        x: The rows, `(rows, inputs)`.

    Returns:
        The codes, uint8 of shape `(rows, inputs)`, and the scales, float32 of shape `(rows, 1)`.
    """
    from onnx import numpy_helper

    largest = g.op("ReduceMax", g.op("Abs", x), g.ints(1), keepdims=0)
    # A row of zeros gets a scale above 0, which no other row's scale is so small as to notice.
    scales = g.op("Add", g.op("Mul", largest, g.number(1 / LARGEST)), g.number(1e-30))
    zero = numpy_helper.from_array(np.array([ZERO], dtype=np.uint8))
    zeros = g.op("ConstantOfShape", g.op("Shape", scales), value=zero)
    codes = g.op("QuantizeLinear", x, scales, zeros, axis=0)
    return codes, g.op("Unsqueeze", scales, g.ints(1))


def quantized_product(
    g: Graph, rows: tuple[str, str], columns: tuple[str, str], bias: str | None, *, unsigned: bool = False
) -> str:
    """`x @ weight.T + bias`, float32 of shape `(rows, outputs)`, summed in 32-bit integers.

    Args:
        g: The graph that it is added to.
        rows: `x`, as `quantized_rows` gives it.
        columns: `weight`, as `quantized_columns` gives it.
        bias: Of shape `(outputs,)`, float32.
        unsigned: As `quantized_columns` was told.
    """
    zeros = [g.byte(ZERO)] * (1 + unsigned)
    product = g.op("MatMulIntegerToFloat", rows[0], columns[0], g.number(1.0), columns[1], *zeros, domain=CONTRIB)
    product = g.op("Mul", product, rows[1])
    return g.op("Add", product, bias) if bias else product


@cache
def products_saturate() -> bool:
    """Whether this processor sums products of unsigned rows and signed columns by pairs in 16 bits, which saturate.

    So it is with x86 before the VNNI instructions; https://onnxruntime.ai/docs/performance/model-optimizations/
    quantization.html, "When to use reduce-range". Products of unsigned factors are right everywhere, and slower.
    """
    import onnxruntime as ort
    from onnx import TensorProto

    from milvine.local.building.graph import Graph

    g = Graph({}, "a product of integers")
    rows = g.op("Cast", g.input("rows", ["n", "k"]), to=TensorProto.UINT8)
    columns = g.op("Cast", g.input("columns", ["k", "m"]), to=TensorProto.INT8)
    g.output("sums", g.op("Cast", g.op("MatMulInteger", rows, columns), to=TensorProto.FLOAT), ["n", "m"])
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = g.session(options, ["CPUExecutionProvider"])
    largest, size = 255, 64
    shape = (size, size)
    (sums,) = session.run(None, {"rows": np.full(shape, largest), "columns": np.full(shape, LARGEST)})
    return bool((sums != size * largest * LARGEST).any())
