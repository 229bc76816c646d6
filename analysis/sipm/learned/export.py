"""The trained ensemble as an ONNX graph, written node by node: it does not depend on an exporter.

Input `features` (n, len(NAMES)); outputs `ln_gain`, `ln_sigma` and `score`, (n,) each. The score is
the mean square of the whitened features, about 1 within the training data.
"""

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.learned.features import NAMES

OPSET = 18
IR_VERSION = 9
LEAST_SHAPE_VARIANCE = 4e-6
MOST_SCALE = 4.0
OUTPUTS = ("ln_gain", "ln_sigma", "score")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Parameters:
    """centre, spread: (D,) of the features. whiten: (D, D). layers: weights (M, in, out) and biases
    (M, out) of the M members, in turn. sigma_factor: calibration."""

    centre: Floats
    spread: Floats
    whiten: Floats
    layers: list[Floats]
    sigma_factor: float


def write_onnx(network: Parameters) -> bytes:
    """The serialised model."""
    onnx, helper = import_module("onnx"), import_module("onnx.helper")
    graph = _Graph()
    baseline, width = _baseline(graph)
    scaled = _scaled(graph, network)
    shift, variance = _ensemble(graph, network, scaled)
    deviation = graph.node("Sqrt", [variance])
    factor = graph.constant(network.sigma_factor)
    graph.node("Mul", [graph.node("Mul", [deviation, factor]), width], "ln_sigma")
    graph.node("Add", [baseline, graph.node("Mul", [shift, width])], "ln_gain")
    real = onnx.TensorProto.FLOAT
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "gain of a pair of histograms",
            [helper.make_tensor_value_info("features", real, ["n", len(NAMES)])],
            [helper.make_tensor_value_info(name, real, ["n"]) for name in OUTPUTS],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@dataclass(frozen=True)
class _Graph:
    """Nodes and constants so far; both are named by their number."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def constant(self, value: object, dtype: type = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        array: NDArray[Any] = np.asarray(value, dtype=dtype)
        self.constants.append(import_module("onnx.numpy_helper").from_array(array, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes: int) -> str:
        output = output or f"value_{len(self.nodes)}"
        made = import_module("onnx.helper").make_node(kind, inputs, [output], **attributes)
        self.nodes.append(made)
        return output

    def column(self, name: str) -> str:
        index = self.constant(NAMES.index(name), np.int64)
        return self.node("Gather", ["features", index], axis=1)

    def squared(self, name: str) -> str:
        """exp(2 x) of a feature that is the logarithm x of an error."""
        return self.node("Exp", [self.node("Mul", [self.column(name), self.constant(2.0)])])

    def mean(self, value: str, axis: int, output: str = "") -> str:
        axes = self.constant([axis], np.int64)
        return self.node("ReduceMean", [value, axes], output, keepdims=0)


def _baseline(graph: _Graph) -> tuple[str, str]:
    """c and w as in train.baseline."""
    one, floor = graph.constant(1.0), graph.constant(LEAST_SHAPE_VARIANCE)
    shape = graph.node("Add", [graph.squared("ln_best_width"), floor])
    given = graph.node("Add", [graph.squared("ln_divisor_error"), graph.squared("ln_slope_error")])
    by_shape, by_divisor = graph.node("Div", [one, shape]), graph.node("Div", [one, given])
    precision = graph.node("Add", [by_shape, by_divisor])
    from_shape = graph.node("Mul", [by_shape, graph.column("best_ln_gain")])
    from_divisor = graph.node("Mul", [by_divisor, graph.column("ln_divisor")])
    centre = graph.node("Div", [graph.node("Sub", [from_shape, from_divisor]), precision])
    return centre, graph.node("Div", [one, graph.node("Sqrt", [precision])])


def _scaled(graph: _Graph, network: Parameters) -> str:
    """Standardised features; the outlier score is made here too."""
    moved = graph.node("Sub", ["features", graph.constant(network.centre)])
    scaled = graph.node("Div", [moved, graph.constant(network.spread)])
    white = graph.node("MatMul", [scaled, graph.constant(network.whiten)])
    graph.mean(graph.node("Mul", [white, white]), 1, "score")
    return scaled


def _ensemble(graph: _Graph, network: Parameters, scaled: str) -> tuple[str, str]:
    """Mean and variance of the mixture of the members, in units of the baseline's error."""
    value = graph.node("Unsqueeze", [scaled, graph.constant([0], np.int64)])
    count = len(network.layers) // 2
    for i in range(count):
        product = graph.node("MatMul", [value, graph.constant(network.layers[2 * i])])
        bias = graph.constant(network.layers[2 * i + 1][:, None, :])
        value = graph.node("Add", [product, bias])
        if i < count - 1:
            value = graph.node("Mul", [value, graph.node("Sigmoid", [value])])
    shifts, scales = (
        graph.node("Gather", [value, graph.constant(i, np.int64)], axis=2) for i in range(2)
    )
    limits = [graph.constant(-MOST_SCALE), graph.constant(MOST_SCALE)]
    scales = graph.node("Clip", [scales, *limits])
    own = graph.node("Exp", [graph.node("Mul", [scales, graph.constant(2.0)])])
    second = graph.mean(graph.node("Add", [own, graph.node("Mul", [shifts, shifts])]), 0)
    shift = graph.mean(shifts, 0)
    return shift, graph.node("Sub", [second, graph.node("Mul", [shift, shift])])
