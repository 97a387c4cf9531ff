#!/usr/bin/env python3
"""What float16 does to the conditioned networks, without a processor that computes in it.

    emulate.py NAME... --cache DIR --library libosprey.so [--only weights|maps] [--cases WORD,WORD]
    emulate.py NAME... --cache DIR --library libosprey.so --noise 1e-4

osp_model_write gives the network in float16 as the precision pass decided. ONNX Runtime runs it with
every number in float32, as the sums of an engine are, but rounds what an engine stores: the weights,
and the maps that leave a step. A convolution, its activation and the sum with a residual are one step.
The result is compared with what expect.py wrote, under the limits of compare.py for fp16. The cuda backend
stores fewer maps and does a little better: cosines were up to 1.6 times as far from 1 as on an H100.

--only rounds weights or maps alone. --noise rounds nothing: the network in float32 reads an input with
noise of that relative size, which tells what it makes of any small difference.
Status 1: a part is beyond its limits.
"""

import argparse
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import compare
import parts

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "precision"))
import check  # noqa: E402

ACTIVATIONS = "Relu", "LeakyRelu", "Sigmoid", "HardSwish", "Clip"


def is_kept(graph, name):
    """Whether a step goes on with this value, so that it is not stored."""
    maker = graph.producer[name]
    readers = graph.consumers.get(name, [])
    types = sorted(n.op_type for n in readers)
    if maker.op_type == "Conv" and types == ["Mul", "Sigmoid"]:
        return readers[types.index("Sigmoid")].output[0] in readers[types.index("Mul")].input
    if maker.op_type == "Conv":
        return len(types) == 1 and types[0] in (*ACTIVATIONS, "Add")
    if maker.op_type == "Sigmoid":      # of a SiLU
        return types == ["Mul"] and maker.input[0] in readers[0].input
    return maker.op_type == "Mul" and types == ["Add"] and any(
        i in graph.producer and graph.producer[i].op_type == "Sigmoid" for i in maker.input)


def types_of(model):
    """{value: element type}."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    found = {v.name: v.type.tensor_type.elem_type
             for v in (*graph.input, *graph.value_info, *graph.output)}
    return found | {t.name: t.data_type for t in graph.initializer}


def rounding(source, result):
    """The two nodes that round a value. ONNX Runtime drops Casts that it put in itself, not these."""
    half = f"{result}.half"
    return [helper.make_node("Cast", [source], [half], to=TensorProto.FLOAT16),
            helper.make_node("Cast", [half], [result], to=TensorProto.FLOAT)]


def widen_constants(model, exact):
    """Makes float16 constants float32; by name, those in `exact` get their values before rounding."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            values = exact.get(tensor.name, numpy_helper.to_array(tensor)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.t.data_type == TensorProto.FLOAT16:
                values = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(values))


def widen(model, rounds, exact):
    """Makes a model in float16 one in float32 that rounds what is stored, if it `rounds`."""
    types = types_of(model)
    graph = parts.Graph(model.graph)
    nodes = []
    for node in graph.nodes:
        casts = node.op_type == "Cast" and types[node.output[0]] == TensorProto.FLOAT16
        if casts:
            node.attribute[0].i = TensorProto.FLOAT
        nodes.append(node)
        for i, name in enumerate(node.output):
            if rounds and types.get(name) == TensorProto.FLOAT16 and not is_kept(graph, name):
                node.output[i] = f"{name}.exact"
                nodes += rounding(node.output[i], name)
    widen_constants(model, exact)
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)


class Network:
    """A model in ONNX Runtime, with what compare.py asks of a session."""

    def __init__(self, model, noise=0.0, threads=2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                                    providers=["CPUExecutionProvider"])
        self.noise = np.float32(noise)

    def output_names(self):
        return [o.name for o in self.session.get_outputs()]

    def run(self, batch, _count):
        """One image after the other: so it takes little memory."""
        if self.noise:
            rng = np.random.default_rng(0)
            batch = batch * (1 + self.noise * rng.standard_normal(batch.shape, dtype=np.float32))
        name = self.session.get_inputs()[0].name
        images = [self.session.run(None, {name: image[None]}) for image in batch]
        return [np.concatenate(values) for values in zip(*images)]


def in_half(path, library, only=None):
    """The model of a file as Network in emulated float16. `only`: "weights" or "maps" are rounded."""
    with tempfile.TemporaryDirectory() as folder:
        check.write(library, str(path), f"{folder}/half.onnx")
        model = onnx.load(f"{folder}/half.onnx")
    exact = {}
    if only == "maps":
        exact = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    widen(model, only != "weights", exact)
    return Network(model)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--library", required=True)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--only", choices=("weights", "maps"))
    how.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--cases", help="which of the cases; default: all that expect.py wrote")
    args = parser.parse_args()
    failed = count = 0
    for name in args.names:
        path = args.cache / f"{name}.parts.onnx"
        network = (Network(onnx.load(path), args.noise) if args.noise
                   else in_half(path, args.library, args.only))
        for folder in sorted(f for f in (args.cache / name).iterdir() if f.is_dir()):
            if args.cases and folder.name not in args.cases.split(","):
                continue
            for part, fine, text in compare.compare_case(network, folder, "fp16"):
                print(f"{name} {folder.name} {part}: {text}{'' if fine else '  FAILED'}", flush=True)
                failed += not fine
                count += 1
    print(f"{count - failed} of {count} parts fine")
    return int(failed > 0 or not count)


if __name__ == "__main__":
    sys.exit(main())
