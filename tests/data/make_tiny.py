"""Makes tiny.onnx: a network of a dozen small layers with the joints that matter to a compiler
(SiLU, residual, split and concat of channels, pooling, resize, a softmax head), with free batch,
height and width, and class names. Run it in this folder with the onnx package at hand."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(7)
nodes, weights = [], []


def node(op, inputs, outputs, **attributes):
    nodes.append(helper.make_node(op, inputs, outputs, name=f"{op}_{len(nodes)}", **attributes))
    return outputs[0]


def constant(name, array):
    weights.append(numpy_helper.from_array(array, name))
    return name


def conv(x, ic, oc, k, s, out, silu=True):
    w = constant(f"{out}.w", (rng.standard_normal((oc, ic, k, k)) / np.sqrt(ic * k * k))
                 .astype(np.float32))
    b = constant(f"{out}.b", rng.standard_normal(oc).astype(np.float32) * 0.1)
    y = node("Conv", [x, w, b], [out + ("_lin" if silu else "")], kernel_shape=[k, k],
             strides=[s, s], pads=[k // 2] * 4)
    if not silu:
        return y
    return node("Mul", [y, node("Sigmoid", [y], [out + "_sig"])], [out])


def int64(name, *values):
    return constant(name, np.array(values, np.int64))


a = conv("images", 3, 8, 3, 2, "stem")
b = conv(a, 8, 8, 3, 2, "down")
node("Split", [b, int64("halves", 4, 4)], ["left", "right"], axis=1)
c = conv("right", 4, 4, 3, 1, "mid")
c = node("Add", [c, "right"], ["residual"])
d = node("Concat", ["left", "right", c], ["joined"], axis=1)
e = conv(d, 12, 8, 1, 1, "mix")
f = node("MaxPool", [e], ["pooled"], kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4)
g = node("Resize", [f, "", constant("scales", np.array([1, 1, 2, 2], np.float32))], ["up"],
         mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
h = node("Concat", [g, a], ["skip"], axis=1)
i = conv(h, 16, 4, 3, 2, "neck")
j = conv(i, 4, 6, 1, 1, "head", silu=False)
k = node("Reshape", [j, int64("flat", 0, 6, -1)], ["rows"])
node("Split", [k, int64("parts", 4, 2)], ["boxes", "logits"], axis=1)
node("Softmax", ["logits"], ["scores"], axis=1)
node("Concat", ["boxes", "scores"], ["output0"], axis=1)

graph = helper.make_graph(
    nodes, "tiny",
    [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
    [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 6, "anchors"])], weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8,
                          producer_name="osprey tests")
for key, value in {"names": "{0: 'near', 1: 'far'}", "stride": "4", "task": "detect"}.items():
    entry = model.metadata_props.add()
    entry.key, entry.value = key, value
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "tiny.onnx")
