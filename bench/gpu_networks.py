#!/usr/bin/env python3
"""YOLO11 on a GPU, engine only: Osprey, torch.compile, PyTorch as a CUDA graph, TensorRT, side by side.

    python3 bench/gpu_networks.py [--bin build/bin] [--only yolo11n@1280,...] [--peer auto|onnx|authors]
        [--skeletons .cache/skeletons] [--plans .cache/plans] [--json FILE] [--markdown FILE]

Each engine lives in a process of its own (bench/gpu_engines.py) and waits there while another is timed.
In every round each is timed once, warm, by device events, in an order that changes from round to round;
a ratio is the median over rounds of the two medians of a round, with quartiles. All run one network: a
skeleton (tests/networks/skeleton.py) that is filled with weights here; their outputs are compared first.

Precision is FP16. The peers get FP16 pixels, channels last, which is what suits them; Osprey and
TensorRT take float32 planes as the file has them. PyTorch's network is the authors' own module where
the ultralytics package is installed, else the file is converted (bench/onnx_to_torch.py).

Needs torch, onnx and numpy. --device cpu --quick: a try without a GPU, whose times mean nothing.
Exit status: 0 all targets met, 1 one missed or something failed, 2 usage, 5 no GPU."""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from gpu_help import ROOT, arguments, fill, lacks_gpu, precision, publish, table, verdict

ENGINES = {"osprey": "Osprey", "compile": "torch.compile", "graph": "PyTorch graph",
           "tensorrt": "TensorRT"}
ALIKE = 0.99            # cosine of two engines' boxes, and of their scores, in FP16


class Row:
    """A network at a size and batch, and what it has to show."""

    def __init__(self, network, size, batch, ms=None, ratio=None):
        self.network, self.size, self.batch, self.ms, self.ratio = network, size, batch, ms, ratio
        self.name = f"{network}@{size}"

    def target(self):
        """In words."""
        if self.ms:
            return f"under {self.ms:.2f} ms"
        return f"{self.ratio} x torch.compile" if self.ratio else ""

    def verdicts(self, result):
        """Whether the target was met: [(what, met)]."""
        found = []
        if self.ms:
            found.append((self.target(), result["ms"]["osprey"][1] < self.ms))
        if self.ratio and "compile" in result["ratio"]:
            found.append((self.target(), result["ratio"]["compile"][1] >= self.ratio))
        if "tensorrt" in result["ratio"]:
            found.append(("ahead of TensorRT", result["ratio"]["tensorrt"][1] > 1))
        return found


ROWS = [Row("yolo11n", 1280, 4, ratio=1.6), Row("yolo11s", 1280, 4, ratio=1.6),
        Row("yolo11m", 1280, 4, ratio=1.4), Row("yolo11x", 1280, 4, ratio=1.3),
        Row("yolo11n", 640, 1, ms=0.45), Row("yolo11s", 640, 1, ms=0.55),
        Row("yolo11m", 640, 1, ms=0.85)]
QUICK = [Row("yolo11n", 64, 1)]


class Process:
    """An engine's process. `missing`: why it cannot run, "" while it can."""

    def __init__(self, kind, options):
        self.kind, self.missing = kind, ""
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "bench/gpu_engines.py"), kind, json.dumps(options)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def answer(self):
        """The next line; an engine that died says nothing more."""
        line = self.process.stdout.readline()
        if not line:
            return {"missing": f"its process ended with {self.process.wait()}"}
        return json.loads(line)

    def ask(self, command):
        """One command's answer."""
        if self.process.poll() is not None:
            return {"missing": "its process has ended"}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def load(self, row, model, output):
        """Opens a network; the facts."""
        told = self.ask({"load": {"model": str(model), "name": row.network, "size": row.size,
                                  "batch": row.batch, "output": str(output)}})
        self.missing = told.get("missing", "")
        return told

    def close(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


def quartiles(values):
    """Of a list, as plain numbers."""
    return [float(q) for q in np.percentile(values, [25, 50, 75])]


def cosine(a, b):
    """The lower of the cosines of boxes and of scores, the latter about their mean."""
    found = []
    for part, centred in ((slice(0, 4), False), (slice(4, None), True)):
        x, y = (v[part].astype(np.float64).ravel() for v in (a, b))
        if centred:
            x, y = x - x.mean(), y - y.mean()
        found.append(float(x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-30)))
    return min(found)


def measure(args, row, engines, folder):
    """All figures of one row."""
    model = fill(args.skeletons, row.network, folder)
    result = {"network": row.network, "size": row.size, "batch": row.batch, "load": {}, "ms": {},
              "ratio": {}, "cosine": {}, "missing": {}}
    for e in engines:
        told = e.load(row, model, folder / f"{e.kind}.npy")
        if e.missing:
            result["missing"][e.kind] = e.missing
        else:
            result["load"][e.kind] = told
    running = [e for e in engines if not e.missing]
    if "osprey" not in result["load"]:
        return result
    ours = np.load(folder / "osprey.npy")
    for e in running[1:]:
        result["cosine"][e.kind] = cosine(np.load(folder / f"{e.kind}.npy"), ours)
    rounds = []
    for r in range(args.rounds):
        order = running[r % len(running):] + running[:r % len(running)]
        told = {e.kind: e.ask({"time": args.runs}) for e in order}
        for e in [e for e in running if isinstance(told[e.kind], dict)]:
            result["missing"][e.kind] = told[e.kind]["missing"]
            running.remove(e)
        rounds.append(told)
    for e in running:
        times = [t for r in rounds for t in r[e.kind]]
        result["ms"][e.kind] = quartiles(times)
        result["runs"] = len(times)
        if e.kind != "osprey" and "osprey" in result["ms"]:
            result["ratio"][e.kind] = quartiles([np.median(r[e.kind]) / np.median(r["osprey"])
                                                 for r in rounds])
    return result


def cell(values, digits):
    """A median and its quartiles."""
    low, middle, high = (f"{v:.{digits}f}" for v in values)
    return f"{middle} ({low} - {high})"


def judged(rows, results):
    """[(row, result, [(what, met)], what went wrong or "")]"""
    found = []
    for row, result in zip(rows, results):
        wrong = [f"Osprey: {result['missing']['osprey']}"] if "osprey" in result["missing"] else []
        wrong += [f"{ENGINES[k]}: another network? cosine {c:.4f}"
                  for k, c in result["cosine"].items() if c < ALIKE]
        verdicts = row.verdicts(result) if "osprey" in result["ms"] else []
        found.append((row, result, verdicts, "; ".join(wrong)))
    return found


def markdown(about, rows, results):
    """The table of docs/benchmarks.md."""
    peers = [k for k in ENGINES if k != "osprey" and any(k in r["ms"] for r in results)]
    head = ["network", "size", "batch", "Osprey ms"]
    head += [f"{ENGINES[k]} ms" for k in peers] + [f"{ENGINES[k]} to ours" for k in peers]
    body = []
    for row, result, verdicts, wrong in judged(rows, results):
        cells = [row.network, str(row.size), str(row.batch)]
        cells += [cell(result["ms"][k], 3) if k in result["ms"] else ""
                  for k in ["osprey", *peers]]
        cells += [cell(result["ratio"][k], 2) if k in result["ratio"] else "" for k in peers]
        cells.append(", ".join(what for what, _ in verdicts))
        cells.append(wrong or ", ".join(verdict(met) for _, met in verdicts))
        body.append(cells)
    return table(about, head + ["target", ""], body)


def describe(args, facts, results):
    """What stands above the table: device, versions, precision, how often."""
    facts = dict(facts)
    device = facts.pop("GPU", "the CPU (times mean nothing)")
    versions = ", ".join(f"{k} {v}" for k, v in facts.items())
    networks = {told["network"] for r in results for told in r["load"].values() if "network" in told}
    runs = max((r.get("runs", 0) for r in results), default=0)
    return (f"{device}; {versions}; {precision(args.device)}, engine only; medians (quartiles) of "
            f"{runs} runs in {args.rounds} rounds, in each of which every engine ran; PyTorch's network: "
            f"{', '.join(sorted(networks)) or 'none'}.")


def find_library(folder):
    """libosprey of a build tree or of an unpacked bundle, by the folder of its programs."""
    for candidate in (folder.parent / "libosprey.so", folder / "libosprey.so.0"):
        if candidate.exists():
            return str(candidate.resolve())
    raise SystemExit(f"gpu_networks: no libosprey beside {folder}: build first")


def parse(argv=None):
    p = arguments(__doc__.splitlines()[0], "one small row, few runs")
    p.add_argument("--plans", type=pathlib.Path, default=ROOT / ".cache/plans",
                   help="what bench/tensorrt_plan.py has built")
    p.add_argument("--libs", type=pathlib.Path, default=ROOT / ".cache/tensorrt/10.6")
    p.add_argument("--only", default="", help="rows: a network, @SIZE or both, separated by commas")
    p.add_argument("--engines", default=",".join(ENGINES))
    p.add_argument("--peer", choices=("auto", "onnx", "authors"), default="auto",
                   help="PyTorch's network: converted from the file, or the ultralytics package's")
    p.add_argument("--rounds", type=int, default=12)
    p.add_argument("--runs", type=int, default=20, help="of each engine in a round")
    args = p.parse_args(argv)
    args.engines = args.engines.split(",")
    if set(args.engines) - set(ENGINES) or args.engines[0] != "osprey":
        p.error(f"--engines: osprey first, then of {', '.join(list(ENGINES)[1:])}")
    args.rows = choose(QUICK if args.quick else ROWS, args.only)
    if not args.rows:
        p.error(f"--only {args.only}: there are {', '.join(r.name for r in ROWS)}")
    if args.quick:
        args.rounds, args.runs = 3, 2
    elif args.rounds * args.runs < 50:
        p.error("--rounds times --runs: at least 50 count")
    return args


def choose(rows, only):
    """The rows that --only names; all where it is empty."""
    words = [w for w in only.split(",") if w]
    return [r for r in rows
            if not words or any(w == r.name or (w in r.name.split("@") or w == f"@{r.size}")
                                for w in words)]


def main():
    args = parse()
    if args.device == "cuda" and lacks_gpu("timed"):
        return 5
    facts, results = {}, []
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        options = {"library": find_library(args.bin), "device": args.device, "peer": args.peer,
                   "libs": str(args.libs), "plans": str(args.plans), "cache": str(work / "timings")}
        engines = [Process(kind, options) for kind in args.engines]
        for e in engines:       # all have begun: their imports take seconds
            told = e.answer()
            if "missing" in told:
                print(f"gpu_networks: {ENGINES[e.kind]}: {told.pop('missing')}", file=sys.stderr)
            facts.update(told)
        for row in args.rows:
            results.append(measure(args, row, engines, work))
            print(json.dumps(results[-1]), file=sys.stderr, flush=True)
        for e in engines:
            e.close()
    publish(args, markdown(describe(args, facts, results), args.rows, results),
            {"facts": facts, "rows": results})
    for kind in args.engines:
        for why in sorted({r["missing"][kind] for r in results if kind in r["missing"]}):
            print(f"{ENGINES[kind]} is missing in {sum(kind in r['missing'] for r in results)} rows: "
                  f"{why}")
    return int(any(wrong or not all(met for _, met in verdicts)
                   for _, _, verdicts, wrong in judged(args.rows, results)))


if __name__ == "__main__":
    sys.exit(main())
