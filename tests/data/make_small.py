"""Makes small.onnx: a detector of twelve convolutions with free batch, height and width, three levels
and a yolo8 head of three classes, small enough for TensorRT to build in seconds at any size. Its weights
are random, but conditioned: every layer's results have variance one on a picture, and about one
candidate in a hundred is above the usual threshold. Run it in this folder with the packages of
tests/requirements.txt at hand."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(11)
SIDE, CLASSES = 320, 3
nodes, weights = [], {}


def node(op, inputs, output, **attributes):
    nodes.append(helper.make_node(op, inputs, [output], name=f"{op}_{len(nodes)}", **attributes))
    return output


def constant(name, array):
    array = np.asarray(array)
    weights[name] = array.astype(np.float32) if array.dtype == np.float64 else array
    return name


def model(outputs):
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT,
                                       ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
         for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                             producer_name="osprey tests")
    return made


def picture():
    """Smooth blobs and edges, so that neighbours differ as they do in photographs."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    image = np.stack([0.5 + 0.3 * np.sin(9 * x + k) * np.cos(7 * y - k) for k in range(3)])
    for _ in range(24):
        cx, cy, r = rng.uniform(0, 1, 3) * [1, 1, 0.12]
        image[:, np.hypot(x - cx, y - cy) < r + 0.01] = rng.uniform(0, 1, (3, 1))
    return image[None].astype(np.float32)


IMAGE = picture()


def measure(name):
    session = onnxruntime.InferenceSession(model({name: None}).SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    return session.run(None, {"images": IMAGE})[0]


def conv(x, ic, oc, kernel, stride, name, spread=1.0):
    """A convolution whose channels have mean 0 and the given spread on the picture."""
    w = rng.standard_normal((oc, ic, kernel, kernel)).astype(np.float32)
    constant(f"{name}.weight", w / np.sqrt(w[0].size))
    constant(f"{name}.bias", np.zeros(oc, np.float32))
    y = node("Conv", [x, f"{name}.weight", f"{name}.bias"], name, kernel_shape=[kernel] * 2,
             strides=[stride] * 2, pads=[kernel // 2] * 4)
    result = measure(y)
    scale = spread / (result.std(axis=(0, 2, 3)) + 1e-3)
    weights[f"{name}.weight"] *= scale[:, None, None, None].astype(np.float32)
    weights[f"{name}.bias"] = (-result.mean(axis=(0, 2, 3)) * scale).astype(np.float32)
    return y


def silu(x):
    return node("Mul", [x, node("Sigmoid", [x], f"{x}.gate")], f"{x}.silu")


def block(x, ic, oc, stride, name):
    return silu(conv(x, ic, oc, 3, stride, name))


def grid(x, axis, name):
    """0, 1, 2, … along one axis of x, broadcast against the other."""
    shape = node("Shape", [x], f"{name}.shape")
    index = constant(f"{name}.axis", np.array(axis, np.int64))
    size = node("Gather", [shape, index], f"{name}.size", axis=0)
    zero, one = constant("zero", np.array(0, np.int64)), constant("one", np.array(1, np.int64))
    steps = node("Cast", [node("Range", [zero, size, one], f"{name}.range")], f"{name}.steps",
                 to=TensorProto.FLOAT)
    form = constant(f"{name}.form", np.array([1, 1, -1, 1] if axis == 2 else [1, 1, 1, -1], np.int64))
    return node("Reshape", [steps, form], f"{name}.grid")


def level(x, channels, stride, name):
    """(N, 4 + classes, cells): boxes of about four cells around each cell, in pixels, and scores."""
    raw = conv(x, channels, 4 + CLASSES, 1, 1, f"{name}.head")
    # Scores: spread over the logits, so that one in a hundred is above 0.25.
    scores = measure(raw)[:, 4:]
    weights[f"{name}.head.weight"][4:] *= 2
    weights[f"{name}.head.bias"][4:] = 2 * weights[f"{name}.head.bias"][4:] + np.float32(
        np.log(0.25 / 0.75) - np.quantile(2 * scores, 0.99))
    parts = [constant(f"{name}.parts", np.array([1, 1, 2, CLASSES], np.int64))]
    nodes.append(helper.make_node("Split", [raw, *parts],
                                  [f"{name}.{p}" for p in ("dx", "dy", "wh", "logits")],
                                  name=f"Split_{len(nodes)}", axis=1))
    half, scale = constant("half", np.float32(0.5)), constant(f"{name}.stride", np.float32(stride))
    centre = []
    for part, axis in (("dx", 3), ("dy", 2)):
        moved = node("Add", [node("Tanh", [f"{name}.{part}"], f"{name}.{part}.tanh"), half],
                     f"{name}.{part}.moved")
        placed = node("Add", [moved, grid(x, axis, f"{name}.{part}")], f"{name}.{part}.placed")
        centre.append(node("Mul", [placed, scale], f"{name}.{part}.pixels"))
    grown = node("Exp", [node("Mul", [f"{name}.wh", half], f"{name}.wh.half")], f"{name}.wh.exp")
    size = node("Mul", [grown, constant(f"{name}.cells", np.float32(4 * stride))],
                f"{name}.wh.pixels")
    sure = node("Sigmoid", [f"{name}.logits"], f"{name}.scores")
    whole = node("Concat", [*centre, size, sure], f"{name}.whole", axis=1)
    return node("Reshape", [whole, constant("flat", np.array([0, 4 + CLASSES, -1], np.int64))],
                f"{name}.flat")


x = block("images", 3, 12, 2, "stem")
x = block(x, 12, 24, 2, "down4")
x = node("Add", [block(x, 24, 24, 1, "mix4"), x], "stage4")
p8 = block(block(x, 24, 32, 2, "down8"), 32, 32, 1, "mix8")
p16 = block(block(p8, 32, 48, 2, "down16"), 48, 48, 1, "mix16")
p32 = block(block(p16, 48, 64, 2, "down32"), 64, 64, 1, "mix32")
node("Concat", [level(p8, 32, 8, "p8"), level(p16, 48, 16, "p16"), level(p32, 64, 32, "p32")],
     "output0", axis=2)

made = model({"output0": ["batch", 4 + CLASSES, "anchors"]})
for key, value in {"names": "{0: 'round', 1: 'square', 2: 'edge'}", "stride": "32",
                   "task": "detect"}.items():
    entry = made.metadata_props.add()
    entry.key, entry.value = key, value
onnx.checker.check_model(made, full_check=True)
onnx.save(made, "small.onnx")
