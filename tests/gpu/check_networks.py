#!/usr/bin/env python3
"""Whole networks by the cuda backend on the GPU in host memory.

    check_networks.py MODEL.onnx --program osprey_on_host --size N

In float32 and in float16, each: two builds with one timing cache must give the same plan, byte for
byte; both plans, opened again, the same outputs; and these must be those of the reference backend,
which runs the graph as it was. The first build tunes: every tactic that takes a step is run.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

# Largest difference as a share of an output's range, and least cosine.
LIMITS = {"fp32": (1e-3, 1 - 1e-6), "fp16": (4e-2, 0.9995)}


def outputs(folder):
    return {path.name: np.load(path) for path in sorted(folder.glob("*.npy"))}


def far(got, want):
    """Difference and cosine of the output that is farthest off."""
    worst, cosine = 0.0, 1.0
    for name, a in want.items():
        a, b = a.astype(np.float64).ravel(), got[name].astype(np.float64).ravel()
        if a.shape != b.shape or not np.isfinite(b).all():
            return np.inf, 0.0
        worst = max(worst, np.abs(a - b).max() / max(np.abs(a).max(), 1e-30))
        cosine = min(cosine, a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))
    return worst, cosine


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--program", required=True)
    parser.add_argument("--size", type=int, required=True)
    args = parser.parse_args()
    bad = []
    with tempfile.TemporaryDirectory(prefix="osprey-networks-") as temp:
        temp = pathlib.Path(temp)

        def program(*words):
            subprocess.run([args.program, *map(str, words), "-q"], check=True,
                           stdout=subprocess.DEVNULL)

        shape = ("--batch", 1, "--size", args.size)
        program("run", args.model, "--backend", "reference", *shape, "--no-cache", "-o", temp / "want")
        want = outputs(temp / "want")
        for precision, (limit, least) in LIMITS.items():
            plans, results = [], []
            for turn in "ab":
                plan, folder = temp / f"{precision}.{turn}.plan", temp / f"{precision}.{turn}"
                program("build", args.model, "--backend", "cuda", "--precision", precision, *shape,
                        "--cache", temp / "timings", "-o", plan)
                program("run", plan, "-o", folder)
                plans.append(plan.read_bytes())
                results.append(outputs(folder))
            worst, cosine = far(results[0], want)
            print(f"{precision}: {worst:.3g} of the range, cosine {cosine:.9f}, "
                  f"plan of {len(plans[0])} bytes")
            if plans[0] != plans[1]:
                bad.append(f"{precision}: two builds with one timing cache differ")
            if any(results[0][name].tobytes() != results[1][name].tobytes() for name in want):
                bad.append(f"{precision}: two plans with the same bytes compute other ones")
            if not want or worst > limit or cosine < least:
                bad.append(f"{precision}: outputs are not those of the reference backend")
    for line in bad:
        print(f"FAIL {line}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
