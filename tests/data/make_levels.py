"""Makes levels.onnx: a network of a few layers that ends as anchor-free detectors do (maps of three
levels, distances as expectations over 16 bins, boxes as centre and size beside the classes' scores),
with a free batch. Run it in this folder with the onnx package at hand."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, BINS, CLASSES, STRIDES = 64, 16, 8, (8, 16, 32)
rng = np.random.default_rng(11)
nodes, weights = [], []


def node(op, inputs, *outputs, **attributes):
    nodes.append(helper.make_node(op, inputs, outputs, name=f"{op}_{len(nodes)}", **attributes))
    return outputs[0]


def constant(name, array):
    weights.append(numpy_helper.from_array(array, name))
    return name


def floats(name, array):
    return constant(name, np.asarray(array, np.float32))


def int64(name, *values):
    return constant(name, np.array(values, np.int64))


def conv(x, ic, oc, k, s, out, gain=1.0, bias=0.0):
    w = floats(f"{out}.w", rng.standard_normal((oc, ic, k, k)) * gain / np.sqrt(ic * k * k))
    b = floats(f"{out}.b", rng.standard_normal(oc) * 0.5 + bias)
    return node("Conv", [x, w, b], out, kernel_shape=[k, k], strides=[s, s], pads=[k // 2] * 4)


def silu(x):
    return node("Mul", [x, node("Sigmoid", [x], x + "_sig")], x + "_act")


x = silu(conv("images", 3, 8, 3, 2, "stem", 4))
x = silu(conv(x, 8, 8, 3, 2, "down", 2))
sides, classes = [], []
for i, stride in enumerate(STRIDES):
    x = silu(conv(x, 8, 8, 3, 2, f"level{i}", 3))
    flat = int64(f"flat{i}", 0, 0, -1)
    side = conv(x, 8, 4 * BINS, 1, 1, f"sides{i}", 6)
    score = conv(x, 8, CLASSES, 1, 1, f"classes{i}", 6, -2)
    sides.append(node("Reshape", [side, flat], side + "_flat"))
    classes.append(node("Reshape", [score, flat], score + "_flat"))

pixels = [(SIDE // s, s) for s in STRIDES]
places = np.concatenate([np.stack([g.reshape(-1) for g in np.meshgrid(
    np.arange(n) + 0.5, np.arange(n) + 0.5)]) for n, _ in pixels], axis=1)[None]
steps = np.concatenate([np.full(n * n, s) for n, s in pixels])[None, None]
rows = places.shape[2]

joined = node("Concat", sides, "sides", axis=2)
joined = node("Reshape", [joined, int64("bins", -1, 4, BINS, rows)], "by_bins")
joined = node("Softmax", [node("Transpose", [joined], "bins_first", perm=[0, 2, 1, 3])], "likely",
              axis=1)
joined = node("Conv", [joined, floats("values", np.arange(BINS).reshape(1, BINS, 1, 1))], "expected",
              kernel_shape=[1, 1])
node("Split", [node("Reshape", [joined, int64("back", -1, 4, rows)], "distances"),
               int64("halves", 2, 2)], "near", "far", axis=1)
low = node("Sub", [floats("places", places), "near"], "low")
high = node("Add", ["far", "places"], "high")
centre = node("Div", [node("Add", [low, high], "sum"), floats("two", 2)], "centre")
boxes = node("Concat", [centre, node("Sub", [high, low], "size")], "cells", axis=1)
boxes = node("Mul", [boxes, floats("strides", steps)], "boxes")
scores = node("Sigmoid", [node("Concat", classes, "logits", axis=2)], "scores")
node("Concat", [boxes, scores], "output0", axis=1)

graph = helper.make_graph(
    nodes, "levels",
    [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
    [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 4 + CLASSES, rows])],
    weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8,
                          producer_name="osprey tests")
for key, value in {"names": str({i: f"class {i}" for i in range(CLASSES)}), "stride": "32",
                   "task": "detect"}.items():
    entry = model.metadata_props.add()
    entry.key, entry.value = key, value
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "levels.onnx")
