#!/usr/bin/env python3
"""Takes the weights out of an ONNX file, and puts others in by a seed.

    weights.py strip MODEL.onnx SKELETON.onnx
    weights.py fill SKELETON.onnx MODEL.onnx [--seed N]

A skeleton is small enough to carry anywhere and gives the same network everywhere: what is filled in
depends on the seed, the tensor's name and its shape, not on a library's random numbers. It is good for
times, and for comparing implementations with each other; the network has learnt nothing. Only float32
tensors of LEAST elements or more are taken out. Of the others, biases of convolutions that are zero, as
of a network that nobody trained, are filled too; constants and whatever determines shapes stay.
Needs onnx and numpy.
"""

import argparse
import math
import pathlib
import sys
import zlib

import numpy as np
import onnx

LEAST = 2048
# With v the variance of what goes into a SiLU, its square's mean is 0.25 v for small v, 0.36 for v = 1
# and 0.5 v for large v. So the variance of the next layer, GAIN^2 times that and BIAS^2 more, comes back
# to about 1 from either side, with room for residuals: activations neither die out nor leave float16.
GAIN, BIAS = math.sqrt(1.5), 0.68


def uniform(count, seed):
    """`count` numbers in [-1, 1) from a 64-bit seed, by SplitMix64: float32, multiples of 2^-23."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)


def values(name, shape, seed, deviation):
    """A tensor of that name and shape, of mean 0 and that standard deviation."""
    own = (seed << 32 | zlib.crc32(name.encode())) & 0xFFFFFFFFFFFFFFFF
    return (uniform(int(np.prod(shape)), own) * np.float32(deviation * math.sqrt(3))).reshape(shape)


def fan_in(shape):
    """How many products an output sums: [oc, ic / groups, taps...], or [in, out] of a product."""
    return shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))


def is_stripped(tensor):
    """A float32 tensor without its data, as strip leaves it."""
    return (tensor.data_type == onnx.TensorProto.FLOAT and not tensor.raw_data
            and not tensor.float_data and all(d > 0 for d in tensor.dims))


def strip(model):
    """Takes the weights out of a model; how many tensors."""
    found = 0
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < LEAST:
            continue
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        found += 1
    return found


def fill(model, seed=0):
    """Puts weights in where strip took them out, and biases where they are zero; how many tensors."""
    biases = {n.input[2] for n in model.graph.node if n.op_type == "Conv" and len(n.input) > 2}
    found = 0
    for tensor in model.graph.initializer:
        shape = tuple(tensor.dims)
        if is_stripped(tensor):
            deviation = GAIN / math.sqrt(fan_in(shape))
        elif tensor.name in biases and not onnx.numpy_helper.to_array(tensor).any():
            deviation = BIAS
        else:
            continue
        tensor.raw_data = values(tensor.name, shape, seed, deviation).tobytes()
        tensor.ClearField("float_data")
        found += 1
    return found


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("strip", "fill"))
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("result", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = onnx.load(args.source)
    found = strip(model) if args.verb == "strip" else fill(model, args.seed)
    if not found:
        print(f"weights: {args.source}: nothing to {args.verb}", file=sys.stderr)
        return 1
    args.result.write_bytes(model.SerializeToString())
    done = "stripped" if args.verb == "strip" else "filled"
    print(f"{args.result}: {found} tensors {done}, {args.result.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
