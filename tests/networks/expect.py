#!/usr/bin/env python3
"""Writes inputs of the conditioned networks and ONNX Runtime's outputs for them, or our own.

    expect.py NAME... --cache DIR [--library libosprey.so] [--cases WORD,WORD]

make.py or pack.py must have made the networks in DIR. With --library the expectations are those of the
cpu backend in FP32, which the tests here hold to ONNX Runtime's: for machines that lack it. For each of CASES:
    DIR/NAME/<case>/input.npy             rendered scenes, (batch, 3, height, width)
    DIR/NAME/<case>/<output>.npy          outputs of NAME.parts.onnx, graph optimisations off
DIR/NAME/expect.json holds the shapes and the seconds that one run took. RT-DETR's queries are the
best 300 places: scenes where the last of them is too close to the next one are passed over, as
rounding of float32 would choose between them and each query changes all others; and so are those where
float16 would choose among many.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np

import scenes

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
from osprey_ctypes import Session  # noqa: E402

CASES = {                       # name: (batch, height, width)
    "b1_640x640": (1, 640, 640), "b3_640x640": (3, 640, 640),
    "b1_480x640": (1, 480, 640), "b3_480x640": (3, 480, 640),
}
QUERY_MARGIN = 1e-4     # of the range of the scores; rounding moved no score by more than 5.3e-5
# At most so many places so near the last: rounding to float16 moves scores by as much in the mean, and
# of ten such places it swaps one or two.
HALF_MARGIN, HALF_MOST = 1e-3, 6
FIRST_SEED = 100                # no scene that the networks were conditioned on


class OnnxRuntime:
    """A network in ONNX Runtime, graph optimisations off."""

    def __init__(self, path, threads):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(path, options,
                                                    providers=["CPUExecutionProvider"])

    def outputs(self, batch):
        names = [o.name for o in self.session.get_outputs()]
        return dict(zip(names, self.session.run(None, {self.session.get_inputs()[0].name: batch})))


class Ours:
    """A network on our cpu backend in FP32: an engine for each shape."""

    def __init__(self, path, threads, library):
        self.path, self.threads, self.library, self.sessions = path, threads, library, {}

    def outputs(self, batch):
        if batch.shape not in self.sessions:
            count, _, height, width = batch.shape
            self.sessions[batch.shape] = Session(self.library, self.path, height, width,
                                                 threads=self.threads, batches=(count,))
        session = self.sessions[batch.shape]
        names = session.output_names()
        return {n: np.copy(v) for n, v in zip(names, session.run(batch, len(names)))}


def run(network, batch):
    """{output name: array} and the seconds of one run."""
    begun = time.monotonic()
    outputs = network.outputs(batch)
    return outputs, time.monotonic() - begun


def decided(outputs):
    """Whether it is beyond rounding which places of a scene become queries, or nearly so in float16."""
    scores = np.sort(outputs["part_query_scores"][0])[::-1]
    count = outputs["part_queries"].shape[1]
    scores /= scores[0] - scores[-1]
    cut = (scores[count - 1] + scores[count]) / 2
    near = int((np.abs(scores - cut) <= HALF_MARGIN).sum())
    return scores[count - 1] - scores[count] > QUERY_MARGIN and near <= HALF_MOST


def choose(network, first_seed, count, height, width):
    """The first scenes from a seed on that will do: (count, 3, height, width)."""
    found = []
    queries = True  # until the first scene tells
    seed = first_seed
    while len(found) < count:
        scene = scenes.scene(seed, height, width)
        if queries:
            outputs, _ = run(network, scene[None])
            queries = "part_queries" in outputs
        if not queries or decided(outputs):
            found.append(scene)
        seed += 1
    return np.stack(found)


def expect(name, cache, network, cases):
    """Writes cases of one network."""
    facts = {}
    for i, (case, (count, height, width)) in enumerate(CASES.items()):
        if case not in cases:
            continue
        folder = cache / name / case
        folder.mkdir(parents=True, exist_ok=True)
        batch = choose(network, FIRST_SEED + 10 * i, count, height, width)
        outputs, took = run(network, batch)
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
    parser.add_argument("--library", help="libosprey.so: its cpu backend's outputs")
    parser.add_argument("--cases", default=",".join(CASES), help="which of the cases")
    args = parser.parse_args()
    cases = args.cases.split(",")
    if set(cases) - set(CASES):
        parser.error(f"cases are {', '.join(CASES)}")
    missing = [n for n in args.names if not (args.cache / f"{n}.parts.onnx").is_file()]
    if missing:
        print(f"expect: {', '.join(missing)}: not in {args.cache}: run make.py first",
              file=sys.stderr)
        return 1
    for name in args.names:
        path = str(args.cache / f"{name}.parts.onnx")
        network = Ours(path, args.threads, args.library) if args.library else OnnxRuntime(
            path, args.threads)
        expect(name, args.cache, network, cases)
    return 0


if __name__ == "__main__":
    sys.exit(main())
