#!/usr/bin/env python3
"""The tensorrt backend on a real GPU, with the real TensorRT: one line for each check, PASS or FAIL
with its figures; exits with 0 if all pass, 5 where there is no GPU.

    python3 tests/tensorrt/check_gpu.py [--bin build/bin] [--libs .cache/tensorrt/10.6]
        [--size 640] [--level 1] [--seconds 60] [--cycles 1000] [--only WORD] [--demo]

Needs numpy. The checks against TensorRT's own Python bindings also need tensorrt_bindings and torch,
and say so where those are missing. --demo builds models/osprey-aerial.onnx too, which takes minutes."""
import argparse
import collections
import ctypes
import gc
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time
import zlib

import numpy as np

import decisions

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL = ROOT / "tests/data/small.onnx"
DEMO = ROOT / "models/osprey-aerial.onnx"
SAMPLES = sorted((ROOT / "models/samples").glob("*.jpg"))

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/bin")
parser.add_argument("--libs", type=pathlib.Path, default=ROOT / ".cache/tensorrt/10.6")
parser.add_argument("--size", type=int, default=640)
parser.add_argument("--level", type=int, default=1)
parser.add_argument("--seconds", type=float, default=60)
parser.add_argument("--cycles", type=int, default=1000)
parser.add_argument("--only", default="")
parser.add_argument("--demo", action="store_true")
ARGS = parser.parse_args()
WORK = pathlib.Path(tempfile.mkdtemp(prefix="osprey_gpu_"))
ENV = dict(os.environ, OSPREY_LIBRARY_DIR=str(ARGS.libs.resolve()),
           LD_LIBRARY_PATH=f"{ARGS.libs.resolve()}:{ARGS.bin.resolve()}:"
                           + os.environ.get("LD_LIBRARY_PATH", ""))
TENSORRT = ["--backend", "tensorrt", "--builder-level", str(ARGS.level)]
SIZE = ["--size", str(ARGS.size)]


class Wrong(Exception):
    pass


def program(name, *words, ok=(0,), timeout=1800):
    words = [str(ARGS.bin / name), *map(str, words)]
    result = subprocess.run(words, capture_output=True, text=True, env=ENV, timeout=timeout)
    if result.returncode not in ok:
        raise Wrong(f"{' '.join(words[:4])} …: exit {result.returncode}: "
                    f"{(result.stderr or result.stdout)[-600:]}")
    return result


def osprey(*words, **more):
    return program("osprey", *words, **more)


def trt_tests(*words, **more):
    result = program("trt_tests", *words, **more)
    return json.loads(result.stdout.splitlines()[-1])


def picture(n=1):
    """A smooth input, the same each time."""
    y, x = np.mgrid[0:ARGS.size, 0:ARGS.size] / ARGS.size
    image = np.stack([0.5 + 0.3 * np.sin(19 * x + k) * np.cos(17 * y - k) for k in range(3)])
    batch = np.stack([np.roll(image, 37 * i, axis=2) for i in range(n)])
    return np.ascontiguousarray(batch.astype(np.float32))


def run(model, *options, x=None, name="run"):
    """{output: array} of `osprey run` on x."""
    x = picture() if x is None else x
    out = WORK / f"{name}.out"
    np.save(WORK / "x.npy", x)
    osprey("run", model, "--input", f"images={WORK / 'x.npy'}", "--output-dir", out, *options)
    return {f.stem: np.load(f) for f in out.glob("*.npy")}


def detect(model, *options):
    result = osprey("detect", model, *SAMPLES, "--format", "json", *options)
    return json.loads(result.stdout)


def boxes_of(document):
    """[(image, class, score, box)], however the document nests them."""
    found = []

    def walk(part, image):
        if isinstance(part, list):
            for p in part:
                walk(p, image)
        elif isinstance(part, dict):
            image = part.get("image", part.get("file", part.get("source", image)))
            if "score" in part:
                box = part.get("box") or [part[k] for k in ("x1", "y1", "x2", "y2")]
                found.append((image, part.get("class_id", part.get("class")), part["score"], box))
            else:
                for p in part.values():
                    walk(p, image)

    walk(document, None)
    return found


def match(a, b, iou_least, score_most):
    """Share of a's boxes that have a partner in b: same image and class, near enough. Boxes that are
    clipped to nothing at a picture's edge overlap with nothing, themselves included: equal corners
    count as well."""
    def iou(p, q):
        if max(abs(x - y) for x, y in zip(p, q)) <= 0.01:
            return 1
        w = min(p[2], q[2]) - max(p[0], q[0])
        h = min(p[3], q[3]) - max(p[1], q[1])
        both = max(w, 0) * max(h, 0)
        area = lambda r: (r[2] - r[0]) * (r[3] - r[1])
        return both / max(area(p) + area(q) - both, 1e-9)

    rest, hits = list(b), 0
    for image, kind, score, box in a:
        best = max((c for c in rest if c[0] == image and c[1] == kind
                    and abs(c[2] - score) <= score_most), key=lambda c: iou(c[3], box), default=None)
        if best and iou(best[3], box) >= iou_least:
            rest.remove(best)
            hits += 1
    return hits / max(len(a), 1)


def write_png(path, rgb):
    """Height x width x 3 bytes, stored without filters."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))

    height, width = rgb.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in rgb)
    path.write_bytes(b"\x89PNG\r\n\x1a\n"
                     + chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def blobs(seed):
    """A picture in whole bytes like the one that small.onnx was conditioned on, but paler, so that it
    finds tens of boxes and not a thousand."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:ARGS.size, 0:ARGS.size] / ARGS.size
    image = np.stack([0.5 + 0.3 * np.sin(9 * x + seed + k) * np.cos(7 * y - k) for k in range(3)])
    for _ in range(24):
        cx, cy, r = rng.uniform(0, 1, 3) * [1, 1, 0.12]
        image[:, np.hypot(x - cx, y - cy) < r + 0.01] = rng.uniform(0, 1, (3, 1))
    return np.round(255 * (0.5 + 0.6 * (image - 0.5))).astype(np.uint8)




def exact_boxes(plan, pictures=16):
    """Boxes of the plan on pictures of its own size, where the outputs of both sides are known: what is
    beyond doubt within their difference has to agree, and nine boxes in ten have to be beyond it."""
    met, sure, doubts, wrong = 0, 0, collections.Counter(), []
    for k in range(pictures):
        pixels, path = blobs(k), WORK / f"scene{k}.png"
        write_png(path, pixels.transpose(1, 2, 0))
        x = pixels.astype(np.float32) / 255
        cpu = run(SMALL, "--backend", "cpu", "--no-cache", *SIZE, x=x[None])["output0"][0]
        ours = run(plan, "--trust", x=x[None])["output0"][0]
        apart = decisions.differences(cpu, ours)
        known = decisions.fates(cpu, *apart)
        told = json.loads(osprey("detect", plan, path, "--trust", "--format", "json", "--no-draw"
                                 ).stdout)["images"][0]["detections"]
        boxes = [[d[c] for c in ("x1", "y1", "x2", "y2", "score", "class_id")] for d in told]
        for fate in known.values():
            np.clip(fate[2], 0, ARGS.size, out=fate[2])
        # Corners are printed to 1e-4 pixels at best, scores to 1e-6.
        bad, open_ones = decisions.compare(known, boxes, apart[0].max() + 2e-3,
                                           apart[1].max() + 2e-6)
        wrong += [f"scene {k}: {line}" for line in bad]
        sure += sum(fate[0] == decisions.KEPT for fate in known.values())
        met += len(boxes)
        doubts += open_ones
    text = f"{met} boxes of {pictures} scenes, {sure} beyond doubt, {len(wrong)} wrong" \
        + "".join(f", {n} candidates in doubt by {why}" for why, n in doubts.items())
    if wrong or not met or sure < 0.9 * met:
        raise Wrong(f"{text}; {'; '.join(wrong[:3])}")
    return text


def difference(a, b):
    """Largest difference relative to the range of b, over all outputs."""
    if a.keys() != b.keys():
        raise Wrong(f"outputs {sorted(a)} and {sorted(b)}")
    return max(float(np.abs(a[k].astype(np.float64) - b[k]).max() / max(np.ptp(b[k]), 1e-9))
               for k in a)


def build(model, name, *options):
    plan = WORK / name
    start = time.time()
    osprey("build", model, "-o", plan, *TENSORRT, *SIZE, *options)
    return plan, time.time() - start


PLANS = {}


def plan_of(name, *options):
    if name not in PLANS:
        PLANS[name] = build(SMALL, name, *options)
    return PLANS[name]


# ---- Checks: each returns what is to be printed, or raises Wrong ---------------------------------

def check_fp32():
    """Built, saved, opened, run in FP32: the CPU's outputs and boxes."""
    plan, seconds = plan_of("fp32.plan", "--precision", "fp32", "--batch", "1")
    far = difference(run(plan, "--trust"), run(SMALL, "--backend", "cpu", "--no-cache", *SIZE))
    ours = boxes_of(detect(plan, "--trust"))
    cpu = boxes_of(detect(SMALL, "--backend", "cpu", "--no-cache", *SIZE))
    share = match(cpu, ours, 0.99, 1e-3)
    text = (f"build {seconds:.0f} s, difference {far:.1e}, {len(ours)} boxes and {len(cpu)}, "
            f"{share:.2%} the same")
    # Noise of 1e-5 changes none of these boxes (decisions.py), so that all have to be there.
    if far > 1e-5 or share < 1 or len(ours) != len(cpu) or not cpu:
        raise Wrong(text)
    return f"{text}; {exact_boxes(plan)}"


def check_fp16():
    plan, seconds = plan_of("fp16.plan", "--precision", "fp16")
    far = difference(run(plan, "--trust"), run(SMALL, "--backend", "cpu", "--no-cache", *SIZE))
    ours = boxes_of(detect(plan, "--trust"))
    cpu = boxes_of(detect(SMALL, "--backend", "cpu", "--no-cache", *SIZE))
    share = match(cpu, ours, 0.9, 0.02)
    text = f"build of 3 variants {seconds:.0f} s, difference {far:.1e}, {share:.2%} of boxes match"
    if far > 2e-2 or share < 0.97:
        raise Wrong(text)
    return text


def check_strongly_typed():
    """Nodes kept in FP32: our precision pass and writer feed a strongly typed network."""
    plan, seconds = plan_of("strong.plan", "--precision", "fp16", "--keep-fp32", "Conv_0",
                            "--batch", "1")
    far = difference(run(plan, "--trust"), run(SMALL, "--backend", "cpu", "--no-cache", *SIZE))
    text = f"build {seconds:.0f} s, difference {far:.1e}"
    if far > 2e-2:
        raise Wrong(text)
    return text


def check_inspect():
    plan, _ = plan_of("fp16.plan", "--precision", "fp16")
    told = json.loads(osprey("inspect", plan, "--trust", "--json").stdout)
    layers = told["steps_of_variants"][0]
    named = [x for x in layers if x["op"] and x["name"]]
    tactics = sum(bool(x["tactic"]) for x in layers)
    text = f"{len(layers)} layers, {len(named)} with name and type, {tactics} with a tactic"
    if not layers or len(named) < len(layers) or not tactics:
        raise Wrong(text)
    return text


def check_timing_cache():
    cache = WORK / "timings"
    _, cold = build(SMALL, "cold.plan", "--precision", "fp16", "--batch", "1", "--cache", cache)
    _, warm = build(SMALL, "warm.plan", "--precision", "fp16", "--batch", "1", "--cache", cache)
    text = f"cold {cold:.1f} s, warm {warm:.1f} s, {cache.stat().st_size} bytes"
    if warm > cold:
        raise Wrong(text)
    return text


def check_cancel():
    told = trt_tests("cancel", SMALL)
    return f"after {told['steps']} steps: {told['status']}"


def check_trust():
    plan, _ = plan_of("fp32.plan", "--precision", "fp32", "--batch", "1")
    result = osprey("run", plan, "--output-dir", WORK / "no", ok=range(1, 256))
    if "--trust" not in result.stderr:
        raise Wrong(result.stderr)
    return result.stderr.strip()[-120:]


# ---- Against TensorRT's own bindings ------------------------------------------------------------

BINDINGS = {}


def bindings():
    """A plan that the bindings build, and its engine."""
    if BINDINGS:
        return BINDINGS
    # The bindings look for the libraries by name: loaded ones are found.
    for name in ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10"):
        ctypes.CDLL(str(ARGS.libs.resolve() / name), mode=ctypes.RTLD_GLOBAL)
    import tensorrt_bindings as trt
    import torch
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    reader = trt.OnnxParser(network, logger)
    if not reader.parse(SMALL.read_bytes()):
        raise Wrong(str(reader.get_error(0)))
    config = builder.create_builder_config()
    config.builder_optimization_level = ARGS.level
    config.set_flag(trt.BuilderFlag.FP16)
    shapes = [(n, 3, ARGS.size, ARGS.size) for n in (1, 4, 4)]
    profile = builder.create_optimization_profile()
    profile.set_shape("images", *shapes)
    config.add_optimization_profile(profile)
    plan = bytes(builder.build_serialized_network(network, config))
    runtime = trt.Runtime(logger)
    BINDINGS.update(trt=trt, torch=torch, plan=plan, runtime=runtime, logger=logger,
                    engine=runtime.deserialize_cuda_engine(plan))
    return BINDINGS


def bindings_context(x):
    b = bindings()
    torch, engine = b["torch"], b["engine"]
    context = engine.create_execution_context()
    context.set_input_shape("images", tuple(x.shape))
    tensors = {"images": torch.from_numpy(x).cuda()}
    for i in range(engine.num_io_tensors):
        name = engine.get_tensor_name(i)
        if name != "images":
            tensors[name] = torch.zeros(tuple(context.get_tensor_shape(name)), device="cuda")
        context.set_tensor_address(name, tensors[name].data_ptr())
    return context, tensors


def bindings_run(x):
    torch = bindings()["torch"]
    context, tensors = bindings_context(x)
    stream = torch.cuda.Stream()
    context.execute_async_v3(stream.cuda_stream)
    stream.synchronize()
    return {k: v.cpu().numpy() for k, v in tensors.items() if k != "images"}


def foreign_plans():
    plan = bindings()["plan"]
    meta = json.dumps({"description": "Ultralytics model", "stride": 32, "task": "detect",
                       "batch": 4, "imgsz": [ARGS.size] * 2,
                       "names": {"0": "round", "1": "square", "2": "edge"}}).encode()
    raw, prefixed = WORK / "raw.engine", WORK / "prefixed.engine"
    raw.write_bytes(plan)
    prefixed.write_bytes(struct.pack("<I", len(meta)) + meta + plan)
    return raw, prefixed


def check_foreign_plans():
    """Plans of the bindings, raw and behind the prefix: opened and run, outputs equal."""
    raw, prefixed = foreign_plans()
    head = list(bindings()["plan"][24:28])
    for n in (1, 3, 4):
        x = picture(4)[:n]
        # Three rows run in the variant of four.
        theirs = {k: v[:n] for k, v in bindings_run(picture(4) if n == 3 else x).items()}
        for plan in (raw, prefixed):
            ours = run(plan, "--trust", x=x, name=f"{plan.stem}{n}")
            for k in theirs:
                if not np.array_equal(ours[k], theirs[k]):
                    raise Wrong(f"{plan.name}, batch {n}: {k} differs by "
                                f"{np.abs(ours[k] - theirs[k]).max()}")
    named = {x[1] for x in boxes_of(detect(prefixed, "--trust"))}
    told = json.loads(osprey("inspect", prefixed, "--trust", "--json").stdout)
    if told["engine"]["classes"] != 3:
        raise Wrong(f"{told['engine']['classes']} class names")
    return f"outputs equal at batch 1, 3, 4; version bytes {head}; classes {sorted(map(str, named))}"


def check_time():
    """Time of a run on the device, as one CUDA graph: ours and the bindings', in turn."""
    raw, _ = foreign_plans()
    torch = bindings()["torch"]
    context, _tensors = bindings_context(picture(4))
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            context.execute_async_v3(stream.cuda_stream)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        context.execute_async_v3(torch.cuda.current_stream().cuda_stream)

    def theirs(runs=2000, warm=200):
        times = []
        with torch.cuda.stream(stream):
            for i in range(-warm, runs):
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                graph.replay()
                end.record()
                end.synchronize()
                if i >= 0:
                    times.append(start.elapsed_time(end) * 1e3)
        return float(np.median(times))

    rounds = []
    for _ in range(3):
        a, told = theirs(), trt_tests("time", raw)
        rounds.append((told["p50_us"], a))
    ours, other = min(r[0] for r in rounds), min(r[1] for r in rounds)
    text = (f"ours {ours:.1f} us, the bindings' {other:.1f} us, ratio {ours / other:.3f} "
            f"(rounds {[tuple(round(v, 1) for v in r) for r in rounds]})")
    if ours > other * 1.02:
        raise Wrong(text)
    return text


# ---- Endurance ----------------------------------------------------------------------------------

class MallInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
        "keepcost")]


def memory():
    """Bytes in use, as trt_tests tells them."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = MallInfo
    gc.collect()
    info = libc.mallinfo2()
    mapped = 0
    for line in pathlib.Path("/proc/self/maps").read_text().splitlines():
        if not line.endswith("[heap]"):
            first, last = line.split()[0].split("-")
            mapped += int(last, 16) - int(first, 16)
    libc.malloc_trim(0)
    resident, shared = map(int, pathlib.Path("/proc/self/statm").read_text().split()[1:3])
    free, total = bindings()["torch"].cuda.mem_get_info()
    return {"device": total - free, "malloc": info.uordblks + info.hblkhd, "mapped": mapped,
            "pages": (resident - shared) * os.sysconf("SC_PAGESIZE")}


def bindings_cycle():
    """What one of our cycles asks of TensorRT and CUDA: open, capture for two slots, run, close."""
    b = bindings()
    torch = b["torch"]
    engine = b["runtime"].deserialize_cuda_engine(b["plan"])
    context = engine.create_execution_context()
    context.set_input_shape("images", (1, 3, ARGS.size, ARGS.size))
    tensors = {}
    for i in range(engine.num_io_tensors):
        name = engine.get_tensor_name(i)
        tensors[name] = torch.zeros(tuple(context.get_tensor_shape(name)), device="cuda")
        context.set_tensor_address(name, tensors[name].data_ptr())
    stream = torch.cuda.Stream()
    context.execute_async_v3(stream.cuda_stream)
    stream.synchronize()
    for _ in range(2):
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
        graph.replay()
    torch.cuda.synchronize()


def grown_by_bindings(count):
    """Bytes by kind and quarter, after count // 2 cycles to warm up."""
    for _ in range(count // 2):
        bindings_cycle()
    looks = [memory()]
    for _ in range(4):
        for _ in range(count // 4):
            bindings_cycle()
        looks.append(memory())
    return {kind: [now[kind] - before[kind] for before, now in zip(looks, looks[1:])]
            for kind in looks[0]}


def check_cycles():
    """No growth of the device's memory, of our heap, of what the process has from malloc, of mappings."""
    told = trt_tests("cycles", plan_of("fp32.plan", "--precision", "fp32", "--batch", "1")[0],
                     ARGS.cycles, timeout=3600)

    def rows(grown):
        return "; ".join(f"{kind} {', '.join(f'{n:+d}' for n in grown[kind])}" for kind in grown)

    text = f"{told['cycles']} cycles after {told['warm']}, bytes grown by quarters: {rows(told['grown_bytes'])}"
    try:
        return f"{text}; through the bindings: {rows(grown_by_bindings(ARGS.cycles))}"
    except ImportError as missing:
        return f"{text}; not beside the bindings: {missing}"


def check_threads():
    told = trt_tests("threads", plan_of("fp16.plan", "--precision", "fp16")[0], ARGS.seconds,
                     timeout=ARGS.seconds + 300)
    return json.dumps(told)


def check_faults():
    told = trt_tests("faults", plan_of("fp32.plan", "--precision", "fp32", "--batch", "1")[0],
                     timeout=3600)
    return json.dumps(told)


def check_demo():
    """The demo model, FP32 against the CPU."""
    if not ARGS.demo:
        return "left out: ask with --demo"
    start = time.time()
    osprey("build", DEMO, "-o", WORK / "demo.plan", *TENSORRT, "--precision", "fp32", "--batch", "1")
    seconds = time.time() - start
    ours = boxes_of(detect(WORK / "demo.plan", "--trust"))
    cpu = boxes_of(detect(DEMO, "--backend", "cpu", "--no-cache"))
    share = match(cpu, ours, 0.98, 2e-3)
    text = f"build {seconds:.0f} s, {len(ours)} boxes and {len(cpu)}, {share:.2%} the same"
    if share < 0.995 or not cpu:
        raise Wrong(text)
    return text


CHECKS = [check_fp32, check_fp16, check_strongly_typed, check_inspect, check_timing_cache,
          check_cancel, check_trust, check_foreign_plans, check_time, check_faults, check_cycles,
          check_threads, check_demo]


def main():
    devices = json.loads(osprey("devices", "--json").stdout)["devices"]
    gpus = [d for d in devices if d["cc_major"]]
    if not gpus:
        print(f"check_gpu: no GPU: {devices[-1].get('reason')}")
        return 5
    print(f"on {gpus[0]['name']}, libraries {ARGS.libs}")
    failed = 0
    for check in CHECKS:
        name = check.__name__.removeprefix("check_")
        if ARGS.only and ARGS.only not in name:
            continue
        start = time.time()
        try:
            print(f"PASS {name}: {check()} [{time.time() - start:.0f} s]", flush=True)
        except ImportError as missing:
            print(f"SKIP {name}: {missing}", flush=True)
        except (Wrong, subprocess.TimeoutExpired, KeyError, ValueError, OSError) as why:
            failed += 1
            print(f"FAIL {name}: {type(why).__name__}: {why}", flush=True)
    print(f"check_gpu: {failed} failed")
    return failed > 0


sys.exit(main())
