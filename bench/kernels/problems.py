#!/usr/bin/env python3
"""The convolutions of a plan as a list for gpu_tactics: each problem once, with how often it occurs.

    osprey build MODEL.onnx --backend cuda --size 1280x1280 --batch 4 -o PLAN
    osprey inspect PLAN --json | problems.py > LIST

A plan of the cpu backend (in float32) does as well, with --half: its convolutions are the same, but for
the type. That needs no GPU.
"""

import argparse
import json
import re
import sys


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", action="store_true", help="float32 becomes float16")
    args = parser.parse_args()
    counts = {}
    for step in json.load(sys.stdin)["steps_of_variants"][-1]:
        if step["op"] not in ("Conv", "FusedConv"):
            continue
        problem = step["problem"]
        if args.half:
            problem = re.sub(r"\bf32\b", "f16", problem)
        counts[problem] = counts.get(problem, 0) + 1
    for problem, count in counts.items():
        print(f"{count}x {problem}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
