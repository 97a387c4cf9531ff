#!/usr/bin/env python3
"""Builds plans of TensorRT for bench/gpu_networks.py, once: they are kept in the cache.

    tensorrt_plan.py MODEL.onnx --name yolo11n --size 640 --batch 1 [--out .cache/plans]
        [--libs .cache/tensorrt/10.6] [--level 3] [--timings FILE]

A plan holds for one kind of GPU and one version of TensorRT. yolo11n at 640 takes minutes. Needs a GPU
and tensorrt_bindings; exit status 5: no GPU."""

import argparse
import ctypes
import pathlib
import sys
import time

from gpu_help import ROOT, lacks_gpu

LIBRARIES = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")


def plan_name(network, size, batch):
    """The file of a plan in its folder."""
    return f"{network}-{size}-b{batch}.plan"


def load_bindings(libs):
    """The bindings, on the libraries of a folder."""
    for name in LIBRARIES:
        ctypes.CDLL(str(pathlib.Path(libs).resolve() / name), mode=ctypes.RTLD_GLOBAL)
    import tensorrt_bindings
    return tensorrt_bindings


def build_plan(trt, logger, model, shape, level=None, timings=None):
    """A plan of the ONNX file `model` in FP16, for its input `images` of one shape. `timings`: a file
    of TensorRT's timing cache, read and written."""
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    reader = trt.OnnxParser(network, logger)
    if not reader.parse(pathlib.Path(model).read_bytes()):
        raise SystemExit(f"{model}: {reader.get_error(0)}")
    config = builder.create_builder_config()
    if level is not None:
        config.builder_optimization_level = level
    config.set_flag(trt.BuilderFlag.FP16)
    profile = builder.create_optimization_profile()
    profile.set_shape("images", shape, shape, shape)
    config.add_optimization_profile(profile)
    if timings:
        cache = config.create_timing_cache(timings.read_bytes() if timings.exists() else b"")
        config.set_timing_cache(cache, False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise SystemExit(f"{model}: TensorRT could not build it")
    if timings:
        timings.write_bytes(bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def main():
    """Command line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--name", required=True)
    p.add_argument("--size", type=int, default=640)
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--out", type=pathlib.Path, default=ROOT / ".cache/plans")
    p.add_argument("--libs", type=pathlib.Path, default=ROOT / ".cache/tensorrt/10.6")
    p.add_argument("--level", type=int, help="TensorRT's own default where it is left out")
    p.add_argument("--timings", type=pathlib.Path)
    args = p.parse_args()
    if lacks_gpu("built"):
        return 5
    args.out.mkdir(parents=True, exist_ok=True)
    trt = load_bindings(args.libs)
    start = time.perf_counter()
    plan = build_plan(trt, trt.Logger(trt.Logger.WARNING), args.model,
                      (args.batch, 3, args.size, args.size), args.level, args.timings)
    path = args.out / plan_name(args.name, args.size, args.batch)
    path.write_bytes(plan)
    print(f"{path}: {len(plan)} bytes, built by TensorRT {trt.__version__} in "
          f"{time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
