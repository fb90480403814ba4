"""A generator as a list of steps with constant shapes, for one image, which the page's engine computes.

Made from an ONNX model with a batch of one. ``site/engine.js`` is the other side of this format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansmith.deploy.storage import LEAST, Precision, quantize
from gansmith.errors import ExportError

__all__ = ["Program", "compile_program"]

_UNARY = {
    "Relu": "relu",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "Gelu": "gelu",
    "Erf": "erf",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
}
_BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
_VIEWS = ("Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity")
ALIGNMENT = 8  # bytes


@dataclass(frozen=True, kw_only=True)
class Program:
    """Steps and weights.

    Args:
        plain: what model.json holds of it: "shapes" of all values by number, "steps", "constants" (the tensors of the
            weights), "bound" (values that are constants), and the numbers "z", "truncation" and "output".
        weights: the content of model.bin.
    """

    plain: Mapping[str, Any]
    weights: bytes


def compile_program(model: Any, precision: Precision = "fp32") -> Program:
    """Return the program of an onnx.ModelProto with a batch of one and float32 output.

    Args:
        model: as ``onnx.trace`` returns it.
        precision: of the stored weights.

    Raises:
        ExportError: the model contains an operation that the page does not have.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    compiler = _Compiler(graph, precision)
    for node in graph.node:
        compiler.add(node)
    return compiler.finish()


@dataclass
class _Compiler:
    graph: Any
    precision: Precision
    shapes: list[list[int]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    constants: list[dict[str, Any]] = field(default_factory=list)
    bound: list[tuple[int, int]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)  # of values, by name
    content: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        from onnx import numpy_helper

        self.known: dict[str, NDArray[Any]] = {
            each.name: numpy_helper.to_array(each) for each in self.graph.initializer
        }
        described = [*self.graph.input, *self.graph.value_info, *self.graph.output]
        self.described = {each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in described}
        self.labels = {each.name for each in self.graph.input if each.name == "labels"}

    # --- values and constants ------------------------------------------------------------------------------

    def number(self, name: str) -> int:
        """Return a value's number; a constant becomes a value too."""
        if name not in self.numbers:
            shape = list(self.known[name].shape) if name in self.known else self.described[name]
            self.numbers[name] = len(self.shapes)
            self.shapes.append(shape)
            if name in self.known:
                self.bound.append((self.numbers[name], self.constant(self.known[name])))
        return self.numbers[name]

    def constant(self, array: NDArray[Any]) -> int:
        """Store a tensor; return its number."""
        array = np.ascontiguousarray(array, np.float32)
        entry: dict[str, Any] = {"shape": list(array.shape), "type": "float32"}
        if self.precision == "fp16" and array.size >= LEAST:
            entry |= {"type": "float16", "offset": self._append(array.astype(np.float16))}
        elif self.precision == "int8" and array.size >= LEAST and array.ndim >= 2:
            small, scales = quantize(array)
            entry |= {"type": "int8", "offset": self._append(small), "scales": self._append(scales)}
        else:
            entry["offset"] = self._append(array)
        self.constants.append(entry)
        return len(self.constants) - 1

    def _append(self, array: NDArray[Any]) -> int:
        self.content.extend(bytes(-len(self.content) % ALIGNMENT))
        offset = len(self.content)
        self.content.extend(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return offset

    def step(self, op: str, node: Any, sources: Sequence[str], **fields: Any) -> None:
        """Append a step from values to the node's output."""
        numbers = [self.number(name) for name in sources]
        self.steps.append({"op": op, "in": numbers, "out": self.number(node.output[0]), **fields})

    def finish(self) -> Program:
        ends = {"z": "z", "truncation": "truncation", "output": self.graph.output[0].name}
        plain = {
            **{key: self.number(name) for key, name in ends.items()},
            "shapes": self.shapes,
            "bound": self.bound,
            "constants": self.constants,
            "steps": self.steps,
        }
        return Program(plain=plain, weights=bytes(self.content))

    # --- operations ----------------------------------------------------------------------------------------

    def add(self, node: Any) -> None:
        """Append the steps of a node of the graph."""
        op, inputs = node.op_type, [name for name in node.input if name]
        if op in _VIEWS or (op == "Cast" and node.input[0] not in self.labels):
            self._view(node)
        elif op in _UNARY:
            self.step(_UNARY[op], node, inputs, **_slope(node))
        elif op in _BINARY:
            self.step(_BINARY[op], node, inputs)
        elif op in _SPECIAL:
            _SPECIAL[op](self, node)
        else:
            raise ExportError(
                f"the generator uses the operation {op}, which the page does not have; use gansmith export onnx"
            )

    def _view(self, node: Any) -> None:
        if node.input[0] in self.labels:
            self.labels.add(node.output[0])
        elif node.input[0] in self.known:
            self.known[node.output[0]] = self.known[node.input[0]].reshape(self.described[node.output[0]])
        else:
            self.step("view", node, node.input[:1])

    def conv(self, node: Any) -> None:
        weight = self.known[node.input[1]]
        strides, pads = _attribute(node, "strides", [1, 1]), _attribute(node, "pads", [0, 0, 0, 0])
        if weight.ndim != 4 or strides[0] != strides[1] or set(_attribute(node, "dilations", [1, 1])) != {1}:
            raise ExportError("the generator has a convolution that the page does not have; use gansmith export onnx")
        bias = self.known[node.input[2]] if len(node.input) > 2 else None
        self.step(
            "conv",
            node,
            node.input[:1],
            weight=self.constant(weight.reshape(len(weight), -1)),
            bias=None if bias is None else self.constant(bias),
            kernel=list(weight.shape[2:]),
            depth=math.prod(weight.shape[1:]),
            stride=strides[0],
            pads=pads[:2],
            groups=_attribute(node, "group", 1),
        )

    def dense(self, node: Any) -> None:
        if node.input[1] not in self.known or len(self._shape(node.output[0])) != 2:
            self._contract(node)
            return
        weight = self.known[node.input[1]]
        if node.op_type == "MatMul" or not _attribute(node, "transB", 0):
            weight = weight.T
        bias = self.known[node.input[2]].reshape(-1) if len(node.input) > 2 else None
        outputs, inputs = weight.shape
        numbers = {"inputs": inputs, "outputs": outputs, "weight": self.constant(weight)}
        self.step("dense", node, node.input[:1], **numbers, bias=None if bias is None else self.constant(bias))

    def _contract(self, node: Any) -> None:
        """Append the product of a matrix with the rows or the columns of every channel's map."""
        left, right = (self.known.get(name) for name in node.input[:2])
        matrix, source = (right, node.input[0]) if left is None else (left, node.input[1])
        if node.op_type != "MatMul" or matrix is None or matrix.ndim != 2 or len(self._shape(source)) != 4:
            raise ExportError("the generator has a product that the page does not have; use gansmith export onnx")
        weight = self.constant(matrix.T if left is None else matrix)  # [after before]
        self.step("contract", node, [source], axis=3 if left is None else 2, weight=weight)

    def split(self, node: Any) -> None:
        shape, axis, start = self._shape(node.input[0]), _attribute(node, "axis", 0), 0
        strides = _strides(shape)
        for name in node.output:
            number = self.number(name)
            source = self.number(node.input[0])
            self.steps.append({"op": "pick", "in": [source], "out": number, "strides": strides, "start": start})
            start += self.described[name][axis] * strides[axis]

    def gather(self, node: Any) -> None:
        if node.input[1] not in self.labels or _attribute(node, "axis", 0) != 0:
            raise ExportError("the generator looks up a table in a way that the page has not; use gansmith export onnx")
        self.step("gather", node, [], table=self.constant(self.known[node.input[0]]))

    def batch_norm(self, node: Any) -> None:
        scale, shift, mean, variance = (self.known[name].astype(np.float64) for name in node.input[1:5])
        factor = scale / np.sqrt(variance + _attribute(node, "epsilon", 1e-5))
        numbers = {"scale": self.constant(factor), "shift": self.constant(shift - mean * factor)}
        self.step("affine", node, node.input[:1], **numbers)

    def instance_norm(self, node: Any) -> None:
        scale, shift = (self.constant(self.known[name]) for name in node.input[1:3])
        epsilon = _attribute(node, "epsilon", 1e-5)
        self.step("instance_norm", node, node.input[:1], scale=scale, shift=shift, epsilon=epsilon)

    def concat(self, node: Any) -> None:
        self.step("concat", node, node.input)  # of a batch of one, along the channels

    def transpose(self, node: Any) -> None:
        shape = self._shape(node.input[0])
        strides = _strides(shape)
        order = _attribute(node, "perm", list(range(len(shape)))[::-1])
        self.step("pick", node, node.input, strides=[strides[axis] for axis in order], start=0)

    def slice(self, node: Any) -> None:
        shape, strides = self._shape(node.input[0]), _strides(self._shape(node.input[0]))
        starts, _, *rest = (self.known[name].tolist() for name in node.input[1:])
        axes = rest[0] if rest else range(len(starts))
        if any(step != 1 for step in (rest[1] if len(rest) > 1 else ())):
            raise ExportError("the generator has a slice that the page does not have; use gansmith export onnx")
        first = sum(
            strides[axis] * (start + shape[axis] if start < 0 else start)
            for axis, start in zip(axes, starts, strict=True)
        )
        self.step("pick", node, node.input[:1], strides=strides, start=first)

    def resize(self, node: Any) -> None:
        before, after = self._shape(node.input[0]), self.described[node.output[0]]
        factors = [large // small for small, large in zip(before, after, strict=True)]
        whole = [small * factor for small, factor in zip(before, factors, strict=True)] == after
        if _attribute(node, "mode", b"nearest") != b"nearest" or not whole or factors[:2] != [1, 1]:
            raise ExportError("the generator resizes in a way that the page does not have; use gansmith export onnx")
        self.step("upsample", node, node.input[:1], factors=factors[2:])

    def depth_to_space(self, node: Any) -> None:
        assert _attribute(node, "mode", b"DCR") == b"CRD"
        self.step("depth_to_space", node, node.input, block=_attribute(node, "blocksize", 0))

    def mean(self, node: Any) -> None:
        self.step("mean", node, node.input[:1])

    def _shape(self, name: str) -> list[int]:
        return list(self.known[name].shape) if name in self.known else self.described[name]


_SPECIAL: dict[str, Callable[[_Compiler, Any], None]] = {
    "Conv": _Compiler.conv,
    "Gemm": _Compiler.dense,
    "MatMul": _Compiler.dense,
    "Gather": _Compiler.gather,
    "BatchNormalization": _Compiler.batch_norm,
    "InstanceNormalization": _Compiler.instance_norm,
    "Concat": _Compiler.concat,
    "Transpose": _Compiler.transpose,
    "Slice": _Compiler.slice,
    "Split": _Compiler.split,
    "Resize": _Compiler.resize,
    "DepthToSpace": _Compiler.depth_to_space,
    "GlobalAveragePool": _Compiler.mean,
}


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _slope(node: Any) -> dict[str, float]:
    defaults = {"LeakyRelu": 0.01, "Elu": 1.0}
    return {"alpha": _attribute(node, "alpha", defaults[node.op_type])} if node.op_type in defaults else {}


def _attribute(node: Any, name: str, default: Any) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)
