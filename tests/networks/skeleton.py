#!/usr/bin/env python3
"""Exports detectors without their weights, for benchmarks: see weights.py.

    skeleton.py NAME... --out DIR           NAME: a configuration of ultralytics, such as yolo11x

Architectures come from the configurations inside the ultralytics package, as in make.py, with batch
and size free; DIR/NAME.onnx is for weights.py fill. Nothing is conditioned: good for times only.
"""

import argparse
import logging
import os
import pathlib
import sys
import tempfile
import warnings

os.environ.setdefault("YOLO_AUTOINSTALL", "false")      # nothing is fetched while this runs
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_VERBOSE", "false")
os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="osprey-skeleton-"))

import onnx                                             # noqa: E402
import torch                                            # noqa: E402

import weights                                          # noqa: E402

OPSET = 17


def export(name):
    """One network as Ultralytics exports it, without weights."""
    from ultralytics import YOLO
    torch.manual_seed(0)                # of the biases, which stay
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)                # the exporter writes beside the working directory
        try:
            # The size is free afterwards; a small one makes the export quick.
            path = YOLO(f"{name}.yaml").export(format="onnx", imgsz=128, dynamic=True, opset=OPSET,
                                               simplify=True)
            model = onnx.load(path)
        finally:
            os.chdir(here)
    for entry in model.metadata_props:
        if entry.key == "date":         # the same bytes on every run
            entry.value = "2026-01-01T00:00:00+00:00"
    del model.graph.value_info[:]
    weights.strip(model)
    return model


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    for name in args.names:
        path = args.out / f"{name}.onnx"
        path.write_bytes(export(name).SerializeToString())
        print(f"{path}: {path.stat().st_size} bytes", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
