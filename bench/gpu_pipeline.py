#!/usr/bin/env python3
"""From images to boxes on a GPU: Osprey beside the path that it replaces, on one TensorRT plan.

    python3 bench/gpu_pipeline.py [--bin build/bin] [--libs .cache/tensorrt/10.6] [--size 1280]
        [--batch 4] [--level 1] [--seconds 5] [--json FILE]

The replaced path is a class over TensorRT: a batch of float32 that is prepared already lies in
pageable memory, is copied to the device, the engine runs, the output is copied back, and the stream
is synchronised; no resizing and no boxes. A second row has it with page-locked memory. Ours starts at
uint8 images and ends at boxes. The plan is built by TensorRT's own bindings and opened by both.

Needs a GPU, torch, numpy and tensorrt_bindings. Exit status 5: no GPU."""
import argparse
import json
import pathlib
import sys
import tempfile
import time

import numpy as np

from gpu_help import ROOT, bench, write_images
from tensorrt_plan import build_plan, load_bindings


def parse():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/bin")
    p.add_argument("--libs", type=pathlib.Path, default=ROOT / ".cache/tensorrt/10.6")
    p.add_argument("--model", type=pathlib.Path, default=ROOT / "tests/data/small.onnx")
    p.add_argument("--size", type=int, default=1280)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--level", type=int, default=1)
    p.add_argument("--seconds", type=float, default=5)
    p.add_argument("--json", type=pathlib.Path)
    return p.parse_args()


class Replaced:
    """The class that Osprey replaces, as it was."""

    def __init__(self, args, trt, torch, engine, pinned):
        self.torch = torch
        self.context = engine.create_execution_context()
        shape = (args.batch, 3, args.size, args.size)
        self.context.set_input_shape("images", shape)
        self.stream = torch.cuda.Stream()
        self.host, self.device = {}, {}
        for i in range(engine.num_io_tensors):
            name = engine.get_tensor_name(i)
            dims = tuple(self.context.get_tensor_shape(name))
            self.host[name] = torch.empty(dims, dtype=torch.float32, pin_memory=pinned)
            self.device[name] = torch.empty(dims, dtype=torch.float32, device="cuda")
            self.context.set_tensor_address(name, self.device[name].data_ptr())
        self.host["images"].uniform_(0, 1)

    def run(self):
        with self.torch.cuda.stream(self.stream):
            self.device["images"].copy_(self.host["images"], non_blocking=True)
            self.context.execute_async_v3(self.stream.cuda_stream)
            for name, host in self.host.items():
                if name != "images":
                    host.copy_(self.device[name], non_blocking=True)
        self.stream.synchronize()


def time_runs(run, seconds):
    for _ in range(10):
        run()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 50:
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times))


def main():
    args = parse()
    try:
        import torch
    except ImportError:
        torch = None
    if not torch or not torch.cuda.is_available():
        print("gpu_pipeline: this machine has no GPU (or no torch): nothing was timed")
        return 5
    trt = load_bindings(args.libs)
    logger = trt.Logger(trt.Logger.ERROR)
    plan_bytes = build_plan(trt, logger, args.model, (args.batch, 3, args.size, args.size),
                            args.level)
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan_bytes)
    rows = {}
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        (work / "images").mkdir()
        write_images(work / "images", args.size)
        (work / "small.engine").write_bytes(plan_bytes)
        for round_ in range(2):  # in turn: both meet the same clocks
            for name, pinned in (("replaced, pageable float32", False),
                                 ("replaced, pinned float32", True)):
                ms = time_runs(Replaced(args, trt, torch, engine, pinned).run, args.seconds / 2)
                rows[name] = min(ms, rows.get(name, ms))
            told = bench(args.bin / "osprey", work / "small.engine", work / "images", args.seconds,
                         "--trust", "--head", "yolo8", libs=args.libs)
            for name, key in (("osprey, pageable uint8 to boxes", "end_to_end"),
                              ("osprey, pinned uint8 to boxes", "end_to_end_pinned"),
                              ("osprey, engine only", "engine")):
                ms = told[key]["p50_ms"]
                rows[name] = min(ms, rows.get(name, ms))
    device = torch.cuda.get_device_name()
    base = rows["replaced, pageable float32"]
    print(f"{device}, TensorRT {trt.__version__}, {args.model.name} at {args.size}, batch "
          f"{args.batch}, FP16, level {args.level}")
    for name, ms in rows.items():
        print(f"{name:34} {ms:8.3f} ms a batch   {base / ms:6.2f}x the replaced path")
    for key in ("end_to_end", "end_to_end_pinned"):
        print(f"the network runs {100 * told[key]['busy']:.0f} % of the time ({key})")
    if args.json:
        args.json.write_text(json.dumps({"device": device, "rows": rows, "bench": told}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
