#!/usr/bin/env python3
"""Conditioned networks in little space, for machines that cannot make them.

    pack.py pack NAME... --cache DIR --out FILE [--bits 6]    needs numpy and onnx
    pack.py unpack FILE... --cache DIR                        the same, nothing else
    pack.py size NAME... --cache DIR [--bits 6]               what each would take

A packed network is its own: weights of 1,024 elements or more are rounded to a few bits in steps of
each channel's largest, which is no more than other noise to weights that were random. What is compared
is not this network with the one that it came from, but its outputs on two backends. FILE is a zip:
NAME/graph.onnx without those weights, and of each of them NAME/<k>.codes and NAME/<k>.steps (npy).
`unpack` writes NAME.parts.onnx (float32) to DIR, the same bytes everywhere; expect.py makes inputs and
expectations of it.
"""

import argparse
import io
import json
import pathlib
import sys
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

LEAST = 1024            # elements: smaller ones are biases and constants of shape
BITS = 6


def axis_of(name, graph):
    """The axis of a weight's channels: of convolutions and Gemm with transB the first, else the last."""
    for node in graph.node:
        if len(node.input) > 1 and node.input[1] == name:
            flags = {a.name: a.i for a in node.attribute}
            return 0 if node.op_type == "Conv" or flags.get("transB") else -1
    return 0


def encode(values, axis, bits):
    """Codes (int8) and steps (float32, by channel)."""
    others = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
    most = 2 ** (bits - 1) - 1
    steps = (np.abs(values).max(axis=others, keepdims=True) / most).astype(np.float32)
    steps[steps == 0] = 1
    return np.round(values / steps).astype(np.int8), steps


def decode(codes, steps):
    return codes.astype(np.float32) * steps


def large_weights(graph):
    return [t for t in graph.initializer
            if t.data_type == TensorProto.FLOAT and int(np.prod(t.dims)) >= LEAST]


def array_bytes(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def pack(name, cache, archive, bits):
    model = onnx.load(str(cache / f"{name}.parts.onnx"))
    for k, tensor in enumerate(large_weights(model.graph)):
        values = numpy_helper.to_array(tensor)
        codes, steps = encode(values, axis_of(tensor.name, model.graph), bits)
        archive.writestr(f"{name}/{k}.codes", array_bytes(codes))
        archive.writestr(f"{name}/{k}.steps", array_bytes(steps))
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.doc_string = str(k)
    archive.writestr(f"{name}/graph.onnx", model.SerializeToString(deterministic=True))
    archive.writestr(f"{name}/facts.json", (cache / f"{name}.json").read_text())


def unpack(archive, name, cache):
    model = onnx.ModelProto.FromString(archive.read(f"{name}/graph.onnx"))
    for tensor in model.graph.initializer:
        if not tensor.doc_string:
            continue
        codes, steps = (np.load(io.BytesIO(archive.read(f"{name}/{tensor.doc_string}.{part}")))
                        for part in ("codes", "steps"))
        tensor.raw_data = np.ascontiguousarray(decode(codes, steps), "<f4").tobytes()
        tensor.ClearField("doc_string")
    cache.mkdir(parents=True, exist_ok=True)
    (cache / f"{name}.parts.onnx").write_bytes(model.SerializeToString(deterministic=True))


def names_in(archive):
    return sorted({entry.split("/")[0] for entry in archive.namelist()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pack", "unpack", "size"))
    parser.add_argument("names", nargs="+", metavar="NAME|FILE")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--bits", type=int, default=BITS, choices=range(4, 9))
    args = parser.parse_args()
    if args.what == "unpack":
        for path in args.names:
            with zipfile.ZipFile(path) as archive:
                for name in names_in(archive):
                    unpack(archive, name, args.cache)
                    print(f"pack: {name}", flush=True)
        return 0
    missing = [n for n in args.names if not (args.cache / f"{n}.parts.onnx").is_file()]
    if missing or (args.what == "pack") != (args.out is not None):
        parser.error(f"{', '.join(missing)}: not in {args.cache}: run make.py first" if missing
                     else "pack needs --out, and nothing else does")
    sizes = {}
    out = args.out or io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as archive:
        for name in args.names:
            pack(name, args.cache, archive, args.bits)
            sizes[name] = sum(i.compress_size for i in archive.infolist()
                              if i.filename.startswith(f"{name}/"))
    print(json.dumps(sizes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
