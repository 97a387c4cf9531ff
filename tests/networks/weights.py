#!/usr/bin/env python3
"""Takes the weights out of an ONNX file, and puts others in by a seed.

    weights.py strip MODEL.onnx SKELETON.onnx
    weights.py fill SKELETON.onnx MODEL.onnx [--seed N]

A skeleton is small enough to carry anywhere and gives the same network everywhere: what is filled in
depends on the seed, the tensor's name and its shape, not on a library's random numbers. It is good for
times, and for comparing implementations with each other; the network has learnt nothing. Only float32
tensors of LEAST elements or more are taken out: biases, constants and whatever determines shapes stay.
Needs onnx and numpy.
"""

import argparse
import pathlib
import sys
import zlib

import numpy as np
import onnx

LEAST = 2048
# E[silu(x)^2] for x of the standard normal distribution is 0.3557: with this gain the variance of a
# layer's output stays that of the layer before, and activations stay within float16.
GAIN = 0.3557 ** -0.5


def uniform(count, seed):
    """`count` numbers in [-1, 1) from a 64-bit seed, by SplitMix64: float32, multiples of 2^-23."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)


def values(name, shape, seed):
    """The weights of that name and shape: [oc, ic / groups, taps...], or [in, out] of a product."""
    count = int(np.prod(shape))
    inputs = shape[0] if len(shape) == 2 else count // shape[0]
    limit = np.float32(GAIN * (3 / inputs) ** 0.5)
    own = (seed << 32 | zlib.crc32(name.encode())) & 0xFFFFFFFFFFFFFFFF
    return (uniform(count, own) * limit).reshape(shape)


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
    """Puts weights in where strip took them out; how many tensors."""
    found = 0
    for tensor in model.graph.initializer:
        if is_stripped(tensor):
            tensor.raw_data = values(tensor.name, tuple(tensor.dims), seed).tobytes()
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
