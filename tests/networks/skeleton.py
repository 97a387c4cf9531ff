#!/usr/bin/env python3
"""Exports detectors without their weights, for benchmarks: see weights.py.

    skeleton.py NAME... --out DIR           NAME: a configuration of ultralytics, such as yolo11x

Architectures come from the configurations inside the ultralytics package, as in make.py, with batch
and size free; DIR/NAME.onnx is for weights.py fill. Nothing is conditioned: good for times only.
"""

import argparse
import pathlib
import sys

import torch

import exporter
import weights

OPSET = 17


def export(name):
    """One network as Ultralytics exports it, without weights."""
    from ultralytics import YOLO
    torch.manual_seed(0)                # of the biases, which stay
    # The size is free afterwards; a small one makes the export quick.
    model = exporter.export(YOLO(f"{name}.yaml"), imgsz=128, opset=OPSET, simplify=True)
    weights.strip(model)
    return model


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    exporter.be_quiet()
    for name in args.names:
        path = args.out / f"{name}.onnx"
        path.write_bytes(export(name).SerializeToString())
        print(f"{path}: {path.stat().st_size} bytes", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
