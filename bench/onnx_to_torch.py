"""An ONNX detector as a torch module: the peer of benchmarks where the authors' package is not.

    onnx_to_torch.py MODEL.onnx [--size 128] [--batch 1] [--authors NAME]

convert() settles all shapes for one input and gives a torch.fx module of straight-line calls: what
depends on constants only is computed once, Sigmoid and Mul become the in-place SiLU that the authors'
module has. Only the operators that YOLO exports use are known. The command compares with ONNX Runtime
and, by --authors yolo11n, with the module of the ultralytics package: outputs, and how often each
torch operation is called. Needs torch, onnx and numpy; the command onnxruntime too.
"""

import argparse
import collections
import operator
import os
import sys
import tempfile
import unittest.mock

import numpy as np
import onnx
import torch
import torch.nn.functional as F

DTYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool}


def reshape(x, dims):
    """ONNX's Reshape: 0 keeps a dimension."""
    return x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(dims)])


def split(x, sizes, axis):
    """Parts of the sizes given."""
    return torch.split(x, sizes, axis)


class Converter:
    """One graph on its way. A value is a tensor where it is constant, else a node of `out`, whose
    meta["shape"] holds an empty tensor of its shape and type on the device `meta`."""

    def __init__(self, model, shape):
        self.opset = next(o.version for o in model.opset_import if not o.domain)
        self.out, self.modules = torch.fx.Graph(), torch.nn.Module()
        self.values = {}
        for tensor in model.graph.initializer:
            self.values[tensor.name] = torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        given = [i.name for i in model.graph.input if i.name not in self.values]
        if len(given) != 1:
            raise ValueError(f"one input is expected, not {given}")
        image = self.out.placeholder("images")
        image.meta["shape"] = torch.empty(shape, device="meta")
        self.values[given[0]] = image
        self.readers = collections.Counter(n for node in model.graph.node for n in node.input)
        self.readers.update(o.name for o in model.graph.output)
        self.makers = {o: node for node in model.graph.node for o in node.output}

    # ---- What operators are made of -------------------------------------------------------------

    def call(self, function, *args, **kwargs):
        """A call of `function`, made at once where nothing depends on the input."""
        live = [a for a in self.flat(args) if isinstance(a, torch.fx.Node)]
        if not live:
            return function(*args, **kwargs)
        args = self.with_buffers(args)
        node = self.out.call_function(function, args, kwargs)
        return self.told(node, lambda *a: function(*a, **kwargs), args)

    def module(self, module, x, name):
        """A call of a module that is kept under `name`."""
        path = name.strip("/").replace("/", "_").replace(".", "_") or f"m{len(self.out.nodes)}"
        self.modules.add_module(path, module)
        node = self.out.call_module(path, (x,))
        return self.told(node, module, (x,))

    def told(self, node, function, args):
        """Notes the shape of what a node makes."""
        empty = [torch.empty(a.shape, dtype=a.dtype, device="meta")
                 if isinstance(a, torch.Tensor) else a
                 for a in torch.fx.map_arg(args, lambda n: n.meta["shape"])]
        node.meta["shape"] = function(*empty)
        return node

    @staticmethod
    def flat(args):
        """The arguments, and those in lists."""
        for a in args:
            yield from a if isinstance(a, (list, tuple)) else (a,)

    def with_buffers(self, args):
        """Constant operands as numbers or as buffers of the module."""
        return tuple(type(a)(map(self.operand, a)) if isinstance(a, (list, tuple))
                     else self.operand(a) for a in args)

    def operand(self, a):
        """One of them."""
        if not isinstance(a, torch.Tensor):
            return a
        if a.numel() == 1 and a.ndim < 2:
            return a.item()
        name = f"constant{len(self.out.nodes)}"
        self.modules.register_buffer(name, a)
        node = self.out.get_attr(name)
        node.meta["shape"] = torch.empty(a.shape, dtype=a.dtype, device="meta")
        return node

    def shape_of(self, x):
        """Of a constant or of a node."""
        return list((x if isinstance(x, torch.Tensor) else x.meta["shape"]).shape)

    # ---- Operators ------------------------------------------------------------------------------

    def convolution(self, node, attrs, inputs):
        """As a module, so that its weights move and change type with the network."""
        x, weight, bias = (inputs + [None])[:3]
        pads = attrs.get("pads", [0, 0, 0, 0])
        if pads[:2] != pads[2:]:
            raise ValueError(f"{node.name}: padding differs between the sides")
        groups = attrs.get("group", 1)
        made = torch.nn.Conv2d(weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]),
                               tuple(attrs.get("strides", [1, 1])), tuple(pads[:2]),
                               tuple(attrs.get("dilations", [1, 1])), groups, bias is not None,
                               device="meta")
        result = self.module(made, x, node.name)    # told on the device `meta`, then given weights
        made.weight = torch.nn.Parameter(weight, requires_grad=False)
        if bias is not None:
            made.bias = torch.nn.Parameter(bias, requires_grad=False)
        return result

    def resize(self, node, attrs, inputs):
        """Nearest, by whole factors, as exporters write torch's Upsample."""
        x, scales, sizes = inputs[0], *(inputs[2:] + [None, None])[:2]
        have = self.shape_of(x)
        want = sizes.tolist() if sizes is not None else [round(h * s) for h, s in
                                                        zip(have, scales.tolist())]
        factor = want[2] / have[2]
        if attrs.get("mode", b"nearest") != b"nearest" or want[3] != have[3] * factor:
            raise ValueError(f"{node.name}: only nearest by one factor")
        return self.call(F.interpolate, x, scale_factor=factor, mode="nearest")

    def product(self, node, inputs):
        """Mul, or SiLU where it is one."""
        for i in range(2):
            gate = self.makers.get(node.input[i])
            if (gate is not None and gate.op_type == "Sigmoid" and gate.input[0] == node.input[1 - i]
                    and isinstance(inputs[1 - i], torch.fx.Node)):
                # In place, as in the authors' module, where nobody else reads what goes in.
                alone = self.readers[node.input[1 - i]] == 2 and self.readers[node.input[i]] == 1
                return self.call(F.silu, inputs[1 - i], inplace=alone)
        return self.call(torch.mul, *inputs)

    def slices(self, inputs):
        """Slice with constant bounds."""
        x, starts, ends, axes, steps = (inputs + [None, None])[:5]
        cut = [slice(None)] * len(self.shape_of(x))
        axes = axes.tolist() if axes is not None else range(len(starts))
        steps = steps.tolist() if steps is not None else [1] * len(starts)
        for a, s, e, t in zip(axes, starts.tolist(), ends.tolist(), steps):
            cut[a] = slice(s, e, t)
        return self.call(operator.getitem, x, tuple(cut))

    def translate(self, node):
        """The results of one node."""
        attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        inputs = [self.values[n] if n else None for n in node.input]
        x, kind, axis = inputs[0] if inputs else None, node.op_type, attrs.get("axis", 0)
        ints = [i.tolist() if isinstance(i, torch.Tensor) and i.dtype == torch.int64 else None
                for i in inputs]
        elementwise = {"Add": torch.add, "Sub": torch.sub, "Sigmoid": torch.sigmoid,
                       "MatMul": torch.matmul, "Exp": torch.exp, "Sqrt": torch.sqrt}
        if kind in elementwise:
            return [self.call(elementwise[kind], *inputs)]
        if kind == "Div":
            whole = isinstance(x, torch.Tensor) and not x.is_floating_point()
            return [self.call(torch.div, *inputs, **({"rounding_mode": "trunc"} if whole else {}))]
        if kind == "Mul":
            return [self.product(node, inputs)]
        if kind == "Conv":
            return [self.convolution(node, attrs, inputs)]
        if kind == "MaxPool":
            return [self.call(F.max_pool2d, x, attrs["kernel_shape"], attrs.get("strides", [1, 1]),
                              attrs.get("pads", [0, 0])[:2])]
        if kind == "Resize":
            return [self.resize(node, attrs, inputs)]
        if kind == "Concat":
            return [self.call(torch.cat, inputs, dim=axis)]
        if kind == "Split":
            sizes = ints[1] if len(inputs) > 1 else attrs["split"]
            parts = self.call(split, x, sizes, axis)
            return [self.call(operator.getitem, parts, i) for i in range(len(sizes))]
        if kind == "Softmax":
            return [self.call(F.softmax, x, dim=attrs.get("axis", -1 if self.opset > 12 else 1))]
        if kind == "Transpose":
            return [self.call(torch.permute, x, tuple(attrs["perm"]))]
        if kind == "Reshape":
            return [self.call(reshape, x, tuple(ints[1]))]
        if kind == "Slice":
            return [self.slices(inputs)]
        if kind == "Expand":
            return [self.call(lambda t, dims: t * torch.ones(dims, dtype=t.dtype), x, ints[1])]
        return [self.of_shapes(node, kind, attrs, x, inputs, axis)]

    def of_shapes(self, node, kind, attrs, x, inputs, axis):
        """Operators that only arithmetic of shapes needs: always constant."""
        if kind == "Shape":
            return torch.tensor(self.shape_of(x))
        if any(isinstance(i, torch.fx.Node) for i in inputs):
            raise ValueError(f"{node.name}: {kind} of what depends on the input is not known")
        if kind == "Constant":
            return torch.from_numpy(onnx.numpy_helper.to_array(attrs["value"]).copy())
        if kind == "Gather":
            at = inputs[1]
            return torch.index_select(x, axis, at.reshape(-1)).reshape(
                x.shape[:axis] + at.shape + x.shape[axis + 1:])
        if kind == "Unsqueeze":
            for a in sorted(inputs[1].tolist()):
                x = x.unsqueeze(a)
            return x
        if kind == "Squeeze":
            return x.squeeze(tuple(inputs[1].tolist()))
        if kind == "Cast":
            return x.to(DTYPES[attrs["to"]])
        if kind == "Range":
            return torch.arange(*(i.item() for i in inputs), dtype=x.dtype)
        if kind == "ConstantOfShape":
            value = onnx.numpy_helper.to_array(attrs["value"]) if "value" in attrs else \
                np.zeros(1, np.float32)
            return torch.full(x.tolist(), value.item(), dtype=torch.from_numpy(value.copy()).dtype)
        raise ValueError(f"{node.name}: {kind} is not known")


def convert(model, shape):
    """The network of an onnx.ModelProto for inputs of that shape, as a torch.fx.GraphModule that
    computes its first output, in float32 on the CPU."""
    c = Converter(model, shape)
    for node in model.graph.node:
        for name, value in zip(node.output, c.translate(node)):
            c.values[name] = value
    c.out.output(c.values[model.graph.output[0].name])
    made = torch.fx.GraphModule(c.modules, c.out)
    made.graph.eliminate_dead_code()
    made.graph.lint()
    made.recompile()
    return made.eval()


def authors(name, model=None):
    """The module of the ultralytics package, as its own export runs it: batch norm folded, boxes and
    scores in one output. With the weights of an onnx.ModelProto that was exported from it."""
    for key, value in (("AUTOINSTALL", "false"), ("OFFLINE", "true"), ("VERBOSE", "false"),
                       ("CONFIG_DIR", tempfile.mkdtemp(prefix="osprey-peer-"))):
        os.environ.setdefault(f"YOLO_{key}", value)     # it fetches nothing and asks nothing
    try:
        import cv2      # noqa: F401
    except ImportError:     # the package imports it everywhere, and its networks nowhere need it
        sys.modules["cv2"] = unittest.mock.MagicMock()
    from ultralytics.nn.tasks import DetectionModel
    made = DetectionModel(f"{name}.yaml", verbose=False).eval().fuse(verbose=False)
    made.model[-1].export = True
    if model is not None:
        data = {t.name: t for t in model.graph.initializer}
        weights = {}
        for node in model.graph.node:
            # By the weights' name alone: exporters let equal biases share one tensor.
            for name, part in zip(node.input[1:], ("weight", "bias")):
                if node.op_type == "Conv":
                    weights[f"{node.input[1].removesuffix('.weight')}.{part}"] = torch.from_numpy(
                        onnx.numpy_helper.to_array(data[name]).copy())
        kept = made.state_dict()
        missing = [k for k in kept if k not in weights]
        if missing:
            raise ValueError(f"{name}: the file has no {', '.join(missing[:3])}")
        made.load_state_dict({k: weights[k] for k in kept})
    return made


class Counter(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts the calls of each torch operation, in place or not."""

    def __init__(self):
        super().__init__()
        self.calls = collections.Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[func.overloadpacket.__name__.rstrip("_")] += 1
        return func(*args, **(kwargs or {}))


WORK = ("convolution", "silu", "cat", "max_pool2d_with_indices", "upsample_nearest2d", "bmm",
        "_softmax", "sigmoid", "add", "sub", "mul", "div", "clone", "copy")


def calls_of(module, x):
    """How often a module calls each operation that does work."""
    with torch.no_grad(), Counter() as counter:
        module(x)
    return {k: counter.calls[k] for k in WORK}


def apart(a, b):
    """The largest difference, relative to the range of b, over boxes and over scores."""
    a, b = a.float(), b.float()
    return max(float((a[:, p] - b[:, p]).abs().max() / (b[:, p].max() - b[:, p].min()).clamp(1e-9))
               for p in (slice(0, 4), slice(4, None)))


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--authors", metavar="NAME")
    parser.add_argument("--limit", type=float, default=1e-3, help="of the differences")
    args = parser.parse_args()
    import onnxruntime
    model = onnx.load(args.model)
    shape = (args.batch, 3, args.size, args.size)
    module = convert(model, shape)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(args.model, providers=["CPUExecutionProvider"])
    theirs = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
    with torch.no_grad():
        ours = module(x)
    differences = {"onnxruntime": apart(ours, theirs)}
    same = True
    if args.authors:
        with torch.no_grad():
            other = authors(args.authors, model)
            differences[f"ultralytics {args.authors}"] = apart(ours, other(x))
        mine, yours = calls_of(module, x), calls_of(other, x)
        for k in WORK:
            print(f"{k:26} {mine[k]:4} {yours[k]:4}{'' if mine[k] == yours[k] else '  differs'}")
        same = all(mine[k] == yours[k] for k in WORK[:7])
    for name, d in differences.items():
        print(f"against {name}: {d:.1e} of the range")
    return 0 if same and all(d <= args.limit for d in differences.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
