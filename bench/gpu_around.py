#!/usr/bin/env python3
"""Around the network on a GPU: how long a build takes, and uint8 images to boxes against what limits them.

    python3 bench/gpu_around.py [--only build,detect] [--bin build/bin] [--network yolo11n] [--size 1280]
        [--batch 4] [--skeletons .cache/skeletons] [--json FILE] [--markdown FILE]

build   `osprey build`, the whole process: without a timing cache, and with the one that this left; the
        two plans that come of it must be the same, byte for byte.
detect  `osprey bench --images`: from uint8 images in page-locked memory to boxes, two batches in flight,
        against the smaller of two rates: that of the engine alone, and that at which copies of the same
        images reach the device. In turn, the median of several rounds. The least score is set so that
        CANDIDATES places of an image pass it, as in a picture full of things.

Needs torch (for the copies), onnx and numpy. --device cpu --quick: a try without a GPU, whose times mean
nothing. Exit status: 0 all targets met, 1 one missed or something failed, 2 usage, 5 no GPU."""

import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from gpu_help import (arguments, bench, environment, fill, lacks_gpu, precision, publish, table,
                      verdict, write_images)

CANDIDATES = 1000
COLD_S, WARM_S, SHARE = 20, 2, 0.85     # the targets
STEPS = ("build", "detect")


def program(args, verb, model, *more):
    """Runs `osprey VERB` on a model; the seconds that the process took."""
    command = [str(args.bin / "osprey"), verb, str(model), "--backend", args.device, "--size",
               f"{args.size}x{args.size}", "--quiet", *map(str, more)]
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, env=environment(args.bin))
    if result.returncode:
        raise SystemExit(f"gpu_around: {' '.join(command)}: {result.stderr[-500:]}")
    return time.perf_counter() - start


def time_builds(args, model, work):
    """Seconds of builds, cold and warm, and whether warm ones give the same plan."""
    cold, warm, same = [], [], True
    for i in range(args.builds):
        kept = ("--batch", args.batch, "--cache", work / f"timings{i}", "-o")
        cold.append(program(args, "build", model, *kept, work / "cold.plan"))
        plans = [work / "first.plan", work / "second.plan"]
        warm += [program(args, "build", model, *kept, plan) for plan in plans]
        same = same and plans[0].read_bytes() == plans[1].read_bytes()
    return {"cold_s": float(np.median(cold)), "warm_s": float(np.median(warm)), "same": same}


def score_of_candidate(args, model, picture, work):
    """The score that CANDIDATES places of a picture reach."""
    np.save(work / "x.npy", picture[None].astype(np.float32).transpose(0, 3, 1, 2) / 255)
    program(args, "run", model, "--batch", 1, "--input", f"images={work / 'x.npy'}", "--output-dir",
            work / "out", "--no-cache")
    output = np.load(next((work / "out").glob("*.npy")))[0]
    best = np.sort(output[4:].max(0))[::-1]
    return float(best[min(CANDIDATES, len(best) - 1)])


def copy_rate(args, torch):
    """Batches a second of copies of one batch's bytes from page-locked memory to the device."""
    n = args.batch * args.size * args.size * 3
    host = torch.zeros(n, dtype=torch.uint8, pin_memory=args.device == "cuda")
    device = torch.zeros(n, dtype=torch.uint8, device=args.device)
    times = []
    for i in range(60):
        start = time.perf_counter()
        for _ in range(5):
            device.copy_(host, non_blocking=True)
        if args.device == "cuda":
            torch.cuda.synchronize()
        if i >= 10:
            times.append((time.perf_counter() - start) / 5)
    return 1 / float(np.median(times))


def time_detection(args, model, work):
    """Batches a second: engine only, copies only, images to boxes; medians over rounds."""
    import torch
    (work / "images").mkdir()
    picture = write_images(work / "images", args.size)
    conf = score_of_candidate(args, model, picture, work)
    plan = work / "detect.plan"
    program(args, "build", model, "--batch", args.batch, "--image-input", "auto", "-o", plan)
    rounds = []
    for _ in range(args.rounds):
        told = bench(args.bin / "osprey", plan, work / "images", args.seconds, "--conf",
                     f"{conf:.9g}", "--head", "yolo8", "--quiet")
        ways = {"page-locked": told.get("end_to_end_pinned"), "pageable": told["end_to_end"]}
        rounds.append({"engine": 1e3 / told["engine"]["p50_ms"], "copies": copy_rate(args, torch),
                       **{k: w["images_per_s"] / args.batch for k, w in ways.items() if w}})
    rates = {k: float(np.median([r[k] for r in rounds])) for k in rounds[0]}
    limit = min(rates["engine"], rates["copies"])
    return {"rates": rates, "limit": limit,
            "share": {k: rates[k] / limit for k in ("page-locked", "pageable") if k in rates}}


def report(args, found):
    """Lines of a table: what, figure, target, verdict; and whether all were met."""
    rows, all_met = [], True

    def add(what, figure, target="", met=None):
        nonlocal all_met
        all_met = all_met and met is not False
        rows.append((what, figure, target, "" if met is None else verdict(met)))

    if "build" in found:
        b = found["build"]
        add("build, cold", f"{b['cold_s']:.2f} s", f"under {COLD_S} s", b["cold_s"] < COLD_S)
        add("build, with a timing cache", f"{b['warm_s']:.2f} s", f"under {WARM_S} s",
            b["warm_s"] < WARM_S)
        add("two builds with one timing cache", "the same plan" if b["same"] else "plans differ",
            "the same plan", b["same"])
    if "detect" in found:
        d = found["detect"]
        for name, key in (("engine only", "engine"), ("page-locked copies of the images", "copies")):
            add(name, f"{d['rates'][key] * args.batch:.0f} images/s")
        for key in d["share"]:
            counts = key == "page-locked"
            add(f"{key} uint8 images to boxes",
                f"{d['rates'][key] * args.batch:.0f} images/s, {100 * d['share'][key]:.0f} % of the "
                "smaller", f"{100 * SHARE:.0f} %" if counts else "",
                d["share"][key] >= SHARE if counts else None)
    return rows, all_met


def parse(argv=None):
    p = arguments(__doc__.splitlines()[0], "small and short")
    p.add_argument("--only", default=",".join(STEPS))
    p.add_argument("--network", default="yolo11n")
    p.add_argument("--size", type=int, default=1280)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--builds", type=int, default=3)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2, help="of each measurement of osprey bench")
    args = p.parse_args(argv)
    args.only = args.only.split(",")
    if set(args.only) - set(STEPS):
        p.error(f"--only: there are {', '.join(STEPS)}")
    if args.quick:
        args.size, args.batch, args.builds, args.rounds, args.seconds = 64, 1, 1, 1, 0.1
    return args


def main():
    args = parse()
    if args.device == "cuda" and lacks_gpu("timed"):
        return 5
    found = {}
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        model = fill(args.skeletons, args.network, work)
        if "build" in args.only:
            found["build"] = time_builds(args, model, work)
        if "detect" in args.only:
            found["detect"] = time_detection(args, model, work)
    rows, all_met = report(args, found)
    about = (f"{args.network}, {args.size} x {args.size}, batch {args.batch}, "
             f"{precision(args.device)}; medians of {args.builds} builds and {args.rounds} rounds.")
    publish(args, table(about, ["what", "figure", "target", ""], rows), found)
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
