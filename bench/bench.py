"""`make bench`: Osprey, ONNX Runtime and OpenVINO side by side on the CPU.

Each engine lives in a process of its own and waits there while another is timed; in every round
each runs once, in an order that changes from round to round. What counts is the median of the
ratios within a round, because both sides of a ratio then met the same noise. Also measured: a GEMM
limit, peak memory, the time to build and to open, and several sessions at once in one process.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


def make_input(height, width):
    """A structured image (smooth gradients, edges), the same for all."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    planes = [0.5 + 0.5 * np.sin(x / 37 + 1), 0.5 + 0.5 * np.cos(y / 23), ((x // 32 + y // 32) % 2)]
    return np.ascontiguousarray(np.stack(planes)[None].astype(np.float32))


class Ours:
    def __init__(self, args):
        sys.path.insert(0, str(HERE))
        from osprey_ctypes import Session

        self.session = Session(args.library, args.model, args.height, args.width,
                               precision=args.precision, threads=args.threads)
        self.flops = self.session.flops()

    def run(self, image):
        return self.session.run(image, 1)


class OnnxRuntime:
    flops = 0

    def __init__(self, args):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = args.threads
        options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(args.model, options, ["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name

    def run(self, image):
        return self.session.run(None, {self.name: image})


class OpenVino:
    flops = 0

    def __init__(self, args):
        import openvino as ov

        core = ov.Core()
        model = core.read_model(args.model)
        model.reshape({model.input(0): [1, 3, args.height, args.width]})
        hint = {"fp32": "f32", "bf16": "bf16"}[args.precision]
        self.compiled = core.compile_model(model, "CPU", {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": args.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        })
        self.request = self.compiled.create_infer_request()

    def run(self, image):
        self.request.infer({0: image}, share_inputs=True)
        return [self.request.get_output_tensor(0).data]


ENGINES = {"osprey": Ours, "onnxruntime": OnnxRuntime, "openvino": OpenVino}


def worker(args):
    """Reads a number of runs a line, answers with the median time in ms; ends with its input."""
    image = make_input(args.height, args.width)
    engine = ENGINES[args.worker](args)
    for _ in range(5):
        output = engine.run(image)
    print(json.dumps({"flops": engine.flops, "mean": float(np.mean(output[0]))}), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            engine.run(image)
            times.append((time.perf_counter() - start) * 1e3)
        print(json.dumps(float(np.median(times))), flush=True)


class Process:
    def __init__(self, name, args, model, precision):
        self.name = name
        command = [sys.executable, __file__, "--worker", name, "--model", str(model),
                   "--library", args.library, "--precision", precision,
                   "--threads", str(args.threads), "--height", str(args.height),
                   "--width", str(args.width)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        first = self.process.stdout.readline()
        if not first:
            raise SystemExit(f"bench: {name} did not start on {model}")
        self.facts = json.loads(first)

    def time(self, runs):
        self.process.stdin.write(f"{runs}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def gemm_limit(threads):
    """GFLOP/s of a large FP32 matrix product through numpy's BLAS, the best of 7."""
    n = 2048
    a, b = (np.random.default_rng(i).standard_normal((n, n), np.float32) for i in (1, 2))
    best = min(timed(lambda: a @ b) for _ in range(7))
    return 2 * n**3 / best / 1e9


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def quartiles(ratios):
    return [float(q) for q in np.percentile(ratios, [25, 50, 75])]


def compare(args, name, precision, limit):
    model = pathlib.Path(args.networks) / f"{name}.onnx"
    if not model.exists():
        raise SystemExit(f"bench: {model} is missing: make check-models makes it")
    names = ["osprey", "openvino"] + (["onnxruntime"] if precision == "fp32" else [])
    engines = [Process(n, args, model, precision) for n in names]
    rounds = []
    for r in range(args.rounds):
        order = engines[r % len(engines):] + engines[:r % len(engines)]
        rounds.append({e.name: e.time(args.runs) for e in order})
    for e in engines:
        e.close()
    ours = np.array([r["osprey"] for r in rounds])
    row = {"network": name, "precision": precision, "rounds": args.rounds,
           "ms": {n: float(np.median([r[n] for r in rounds])) for n in names},
           "ratio_to": {n: quartiles(ours / [r[n] for r in rounds]) for n in names[1:]},
           "gflops": engines[0].facts["flops"] / np.median(ours) / 1e6}
    fastest = np.array([min(r[n] for n in names[1:]) for r in rounds])
    row["ratio_to_fastest"] = quartiles(ours / fastest)
    if precision == "fp32":
        row["share_of_gemm_limit"] = row["gflops"] / limit
    return row


def peak_kib(command, **extra):
    """Runs a command; returns (its peak RSS in KiB, seconds, output)."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **extra)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"bench: failed: {' '.join(command)}")
    return usage.ru_maxrss, time.perf_counter() - start, output


# The high-water mark of the process's own memory: ru_maxrss would begin with its parent's.
ORT_MEMORY = """
import pathlib, sys, numpy as np, onnxruntime as ort
def peak_kib():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
before = peak_kib()
o = ort.SessionOptions(); o.intra_op_num_threads = int(sys.argv[2])
s = ort.InferenceSession(sys.argv[1], o, ["CPUExecutionProvider"])
s.run(None, {s.get_inputs()[0].name: np.random.rand(1, 3, 640, 640).astype(np.float32)})
print(peak_kib() - before)
"""


def around(args, work_dir):
    """Memory and times around the run: peak RSS, building, opening."""
    networks = pathlib.Path(args.networks)
    plan = work_dir / "yolo11n.plan"
    base = [args.program]
    size = ["--size", "640x640", "--backend", "cpu", "--threads", str(args.threads)]
    ours, _, _ = peak_kib(base + ["run", str(networks / "yolo11s.onnx"), "--output-dir",
                                  str(work_dir / "out")] + size,
                          env={**os.environ, "OSPREY_CACHE_DIR": str(work_dir / "cache")})
    _, _, added = peak_kib([sys.executable, "-c", ORT_MEMORY, str(networks / "yolo11s.onnx"),
                            str(args.threads)])
    _, build_s, _ = peak_kib(base + ["build", str(networks / "yolo11n.onnx"), "-o", str(plan)] + size)
    opens = []
    for _ in range(5):
        _, _, text = peak_kib(base + ["inspect", str(plan), "--json", "--threads",
                                      str(args.threads)])
        opens.append(json.loads(text)["engine"]["open_ms"])
    return {"together": together(args, plan),
            "peak_rss_mib": {"osprey run": ours / 1024, "onnxruntime adds": int(added) / 1024},
            "build_s": build_s, "open_ms": float(np.median(opens))}


def look(pid):
    """{thread: (it runs or could, its ticks of processor time)} of a process."""
    tasks = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            fields = (task / "stat").read_text().rpartition(")")[2].split()
        except OSError:                 # ended meanwhile
            continue
        tasks[task.name] = (fields[0] == "R", int(fields[11]))
    return tasks


def most_busy(process):
    """Most compute threads that were running at once, as the mean of 50 looks a millisecond apart:
    a thread that has just handed its turn on may still wait for a processor to go to sleep on.
    Threads that only hand out work have no processor time to speak of and do not count."""
    time.sleep(1)                       # opened, warmed up
    looks, end = [look(process.pid)], time.perf_counter() + 2
    while process.poll() is None and time.perf_counter() < end:
        time.sleep(0.001)
        looks.append(look(process.pid))
    first, last = looks[0], looks[-1]
    ticks = {task: last[task][1] - first[task][1] for task in last if task in first}
    compute = {task for task, used in ticks.items() if used > 0.03 * sum(ticks.values())}
    running = [sum(task in compute and runs for task, (runs, _) in seen.items()) for seen in looks]
    return float(np.convolve(running, np.full(50, 1 / 50), "valid").max())


def sessions(args, plan, count, watch=False):
    """Images a second of `count` sessions at once in one process, or its most busy threads."""
    command = [args.program, "bench", str(plan), "--sessions", str(count), "--threads",
               str(args.threads), "--seconds", "4" if watch else "2", "--json", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    most = most_busy(process) if watch else 0
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"bench: failed: {' '.join(command)}")
    return most if watch else json.loads(output)["engine"]["images_per_s"]


def together(args, plan):
    """Four sessions beside one, by turns."""
    pairs = []
    for r in range(args.pairs):
        order = (1, 4) if r % 2 else (4, 1)
        pair = {count: sessions(args, plan, count) for count in order}
        pairs.append((pair[1], pair[4]))
    return {"images_per_s": {"1": float(np.median([p[0] for p in pairs])),
                             "4": float(np.median([p[1] for p in pairs]))},
            "ratio": quartiles([p[1] / p[0] for p in pairs]),
            "most_busy_threads": max(sessions(args, plan, 4, watch=True) for _ in range(2))}


def cpu_has_bf16():
    return "avx512_bf16" in pathlib.Path("/proc/cpuinfo").read_text()


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return "unknown"


def report(result):
    import onnxruntime
    import openvino

    print(f"CPU: {result['cpu']}, {result['threads']} threads; ONNX Runtime "
          f"{onnxruntime.__version__}, OpenVINO {openvino.__version__.split('-')[0]}; "
          f"GEMM limit {result['gemm_gflops']:.0f} GFLOP/s")
    print("network    type  osprey ms  openvino ms  onnxruntime ms  ratio to the fastest "
          "[25 % 50 % 75 %]  to onnxruntime  GFLOP/s  of GEMM")
    for row in result["rows"]:
        q = row["ratio_to_fastest"]
        ort = row["ratio_to"].get("onnxruntime", [0, float("nan"), 0])[1]
        print(f"{row['network']:10} {row['precision']:5} {row['ms']['osprey']:9.1f} "
              f"{row['ms']['openvino']:12.1f} {row['ms'].get('onnxruntime', float('nan')):15.1f}"
              f"  {q[0]:.3f} {q[1]:.3f} {q[2]:.3f}                         {ort:12.3f}"
              f"  {row['gflops']:8.1f}  {row.get('share_of_gemm_limit', float('nan')):6.2f}")
    a = result.get("around")
    if a:
        print(f"peak RSS on yolo11s: osprey run {a['peak_rss_mib']['osprey run']:.0f} MiB; "
              f"ONNX Runtime adds {a['peak_rss_mib']['onnxruntime adds']:.0f} MiB to its imports")
        t = a["together"]
        q = t["ratio"]
        print(f"yolo11n, 4 sessions at once: {t['images_per_s']['4']:.1f} images/s, one "
              f"{t['images_per_s']['1']:.1f}, ratio {q[0]:.3f} {q[1]:.3f} {q[2]:.3f}; "
              f"at most {t['most_busy_threads']:.1f} busy threads")
        print(f"yolo11n: build {a['build_s']:.2f} s, open its plan {a['open_ms']:.0f} ms")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--networks", default=str(ROOT / ".cache" / "networks"))
    p.add_argument("--names", default="yolo11n,yolo11s,yolov8n")
    p.add_argument("--precisions", default="fp32,bf16" if cpu_has_bf16() else "fp32")
    p.add_argument("--library", default=str(ROOT / "build" / "libosprey.so"))
    p.add_argument("--program", default=str(ROOT / "build" / "bin" / "osprey"))
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=30)
    p.add_argument("--runs", type=int, default=3, help="runs of each engine in a round")
    p.add_argument("--pairs", type=int, default=7, help="pairs of 1 and 4 sessions")
    p.add_argument("--height", type=int, default=640)
    p.add_argument("--width", type=int, default=640)
    p.add_argument("--json", default=str(ROOT / "build" / "bench.json"))
    p.add_argument("--no-around", action="store_true")
    p.add_argument("--worker", choices=ENGINES)
    p.add_argument("--model")
    p.add_argument("--precision", default="fp32")
    args = p.parse_args()
    if args.worker:
        worker(args)
        return
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
    result = {"cpu": cpu_model(), "threads": args.threads, "rows": []}
    if not args.no_around:  # first: a child's peak memory begins with what this process has
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            result["around"] = around(args, pathlib.Path(folder))
    limit = result["gemm_gflops"] = gemm_limit(args.threads)
    for precision in args.precisions.split(","):
        for name in args.names.split(","):
            result["rows"].append(compare(args, name, precision, limit))
    pathlib.Path(args.json).write_text(json.dumps(result, indent=1))
    report(result)


if __name__ == "__main__":
    main()
