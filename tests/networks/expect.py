#!/usr/bin/env python3
"""Writes inputs of the conditioned networks and ONNX Runtime's outputs for them.

    expect.py NAME... --cache DIR

make.py must have made the networks in DIR. For each of CASES:
    DIR/NAME/<case>/input.npy             rendered scenes, (batch, 3, height, width)
    DIR/NAME/<case>/<output>.npy          outputs of NAME.parts.onnx, graph optimisations off
DIR/NAME/expect.json holds the shapes and the seconds that one run took. RT-DETR's queries are the
best 300 places: scenes where the last of them is too close to the next one are passed over, as
rounding would choose between them and each query changes all others.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np
import onnxruntime

import scenes

CASES = {                       # name: (batch, height, width)
    "b1_640x640": (1, 640, 640), "b3_640x640": (3, 640, 640),
    "b1_480x640": (1, 480, 640), "b3_480x640": (3, 480, 640),
}
QUERY_MARGIN = 1e-4     # of the range of the scores; rounding moved no score by more than 5.3e-5
FIRST_SEED = 100                # no scene that the networks were conditioned on


def run(session, batch):
    """{output name: array} and the seconds of one run."""
    begun = time.monotonic()
    values = session.run(None, {session.get_inputs()[0].name: batch})
    took = time.monotonic() - begun
    return dict(zip([o.name for o in session.get_outputs()], values)), took


def decided(session, scene):
    """Whether it is beyond rounding which places of a scene become queries."""
    outputs, _ = run(session, scene[None])
    scores = np.sort(outputs["part_query_scores"][0])[::-1]
    count = outputs["part_queries"].shape[1]
    return scores[count - 1] - scores[count] > QUERY_MARGIN * (scores[0] - scores[-1])


def choose(session, first_seed, count, height, width):
    """The first scenes from a seed on that will do: (count, 3, height, width)."""
    queries = "part_queries" in [o.name for o in session.get_outputs()]
    found = []
    seed = first_seed
    while len(found) < count:
        scene = scenes.scene(seed, height, width)
        if not queries or decided(session, scene):
            found.append(scene)
        seed += 1
    return np.stack(found)


def expect(name, cache, threads):
    """Writes all cases of one network."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(cache / f"{name}.parts.onnx"), options,
                                           providers=["CPUExecutionProvider"])
    facts = {}
    for i, (case, (count, height, width)) in enumerate(CASES.items()):
        folder = cache / name / case
        folder.mkdir(parents=True, exist_ok=True)
        batch = choose(session, FIRST_SEED + 10 * i, count, height, width)
        outputs, took = run(session, batch)
        np.save(folder / "input.npy", batch)
        for output, value in outputs.items():
            np.save(folder / f"{output}.npy", np.ascontiguousarray(value))
        facts[case] = {"seconds": round(took, 3),
                       "outputs": {o: list(v.shape) for o, v in outputs.items()}}
        print(f"{name} {case}: {took:.2f} s, "
              + ", ".join(f"{o} {'x'.join(map(str, v.shape))}" for o, v in outputs.items()),
              flush=True)
    (cache / name / "expect.json").write_text(json.dumps(facts, indent=1) + "\n")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    missing = [n for n in args.names if not (args.cache / f"{n}.parts.onnx").is_file()]
    if missing:
        print(f"expect: {', '.join(missing)}: not in {args.cache}: run make.py first",
              file=sys.stderr)
        return 1
    for name in args.names:
        expect(name, args.cache, args.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
