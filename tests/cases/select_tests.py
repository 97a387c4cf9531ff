#!/usr/bin/env python3
"""Prints the ONNX backend tests that Osprey must pass, one directory a line.

    select_tests.py TESTDATA_DIR [--counts] [--out FILE]

A test is selected by two rules alone: every node of its graph is an operator of tiers T0 and T1 of
the default domain (so no subgraphs, model functions or training graphs), and every graph input and
output is a tensor of float32, int32, int64 or bool. There is no list of exceptions.
TESTDATA_DIR holds the folders node, pytorch-converted, pytorch-operator and simple: the data folder
that Debian's package libonnx-testdata installs.
"""

import argparse
import pathlib
import sys

import onnx
from onnx import TensorProto

FOLDERS = ("node", "pytorch-converted", "pytorch-operator", "simple")
TIER_0 = """
    Conv Relu LeakyRelu Sigmoid Mul Add Sub Div Pow Exp Concat Split Slice Reshape Transpose Flatten
    Squeeze Unsqueeze MaxPool AveragePool GlobalAveragePool Resize Upsample Softmax MatMul Gemm
    BatchNormalization Constant Shape Gather Cast Identity Clip Tanh""".split()
TIER_1 = """
    TopK ReduceMax ReduceMean ReduceSum GatherElements GatherND Mod Tile Expand ConstantOfShape
    Where Equal Less And Xor Not LayerNormalization Gelu Erf Sqrt GridSample Sin Cos Log
    Min Max Range
    ScatterND Floor Einsum HardSigmoid HardSwish ConvTranspose Pad""".split()
OPERATORS = frozenset(TIER_0 + TIER_1)
TYPES = (TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL)


def selected(model):
    """Whether the model's operators and the types of its inputs and outputs are Osprey's."""
    graph = model.graph
    if any(node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS
           for node in graph.node):
        return False
    if model.functions or model.training_info:
        return False
    return all(value.type.HasField("tensor_type") and value.type.tensor_type.elem_type in TYPES
               for value in list(graph.input) + list(graph.output))


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--counts", action="store_true", help="print counts instead, by folder")
    parser.add_argument("--out", type=argparse.FileType("w"), default=sys.stdout)
    args = parser.parse_args()
    counts = {}
    for folder in FOLDERS:
        for path in sorted((args.data / folder).glob("*/model.onnx")):
            found = counts.setdefault(folder, [0, 0])
            found[1] += 1
            if selected(onnx.load(path, load_external_data=False)):
                found[0] += 1
                if not args.counts:
                    print(path.parent, file=args.out)
    if args.counts:
        for folder, (count, total) in counts.items():
            print(f"{folder}: {count} of {total}", file=args.out)
        print(f"together: {sum(c for c, _ in counts.values())}", file=args.out)
    if not counts:
        print(f"select_tests: no tests in {args.data}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
