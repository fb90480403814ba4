"""Smaller files: weights of an ONNX model stored in 16 or 8 bits, and read back as float32.

Only the storage changes. Every runtime computes as before, so the loss is that of the rounded weights.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST", "Precision", "quantize", "shrink_weights"]

Precision: TypeAlias = Literal["fp32", "fp16", "int8"]

LEAST = 256  # elements of a weight that is worth it


def quantize(weight: NDArray[np.float32], axis: int = 0) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round a weight to 8 bits with a scale per output channel.

    Args:
        weight: float32, any shape of at least one dimension.
        axis: that of the output channels.

    Returns:
        int8 in [-127, 127] of the weight's shape, and the scales, float32 [channels]; their product is the weight.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    return np.rint(weight / scale.reshape(shape)).astype(np.int8), scale


def shrink_weights(model: Any, precision: Precision) -> Any:
    """Store the weights of an onnx.ModelProto in 16 or 8 bits; each is converted to float32 where it is read.

    Args:
        model: the model, changed in place.
        precision: "fp32" changes nothing; "int8" has a scale per output channel.

    Returns:
        The model.
    """
    if precision == "fp32":
        return model
    from onnx import TensorProto, helper, numpy_helper

    transposed = {node.input[1] for node in model.graph.node if node.op_type == "ConvTranspose"}
    kept, added, nodes = [], [], []
    for tensor in model.graph.initializer:
        weight = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or weight.size < LEAST or weight.ndim < 2:
            kept.append(tensor)
            continue
        name, stored = tensor.name, f"{tensor.name}_{precision}"
        if precision == "fp16":
            added.append(numpy_helper.from_array(weight.astype(np.float16), stored))
            nodes.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
            continue
        axis = 1 if name in transposed else 0
        small, scale = quantize(weight, axis)
        added += [numpy_helper.from_array(small, stored), numpy_helper.from_array(scale, f"{stored}_scale")]
        nodes.append(helper.make_node("DequantizeLinear", [stored, f"{stored}_scale"], [name], axis=axis))
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, *added])
    before = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *before])
    return model
