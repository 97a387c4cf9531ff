#!/usr/bin/env python3
"""Generates the operator cases: every operator we have against an independent oracle.

    generate.py OUT [--only OP,...] [--jobs N] [--cross-check]

Layout, that of the ONNX backend tests:
    OUT/<operator>/<case>/model.onnx
    OUT/<operator>/<case>/test_data_set_0/input_<i>.pb, output_<i>.pb
    OUT/<operator>/<case>/oracle.txt      who computed the outputs
    OUT/manifest.json                     counts by operator, opset step and oracle
The same versions of the pinned packages give the same bytes. Exit status 1, with the list, when an
operator or one of its opset steps has fewer cases than MINIMUM and STEP_MINIMUM ask for.
"""

import argparse
import json
import multiprocessing
import pathlib
import shutil
import sys
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from case import Case, Reject, check, sane, steps_of
from families import BUILDERS

STEP_MINIMUM = 5
MINIMUM = {"Conv": 300, "MaxPool": 150, "AveragePool": 150, "Resize": 150}
OPERATOR_MINIMUM = 15
# Families with many attributes get more than the minimum.
WANTED = {"Resize": 200, "ConvTranspose": 60, "GridSample": 60, "Upsample": 30, "Pad": 60,
          "Slice": 48, "Einsum": 48, "Cast": 60, "TopK": 36, "LayerNormalization": 24,
          "Gemm": 40, "MatMul": 36,
          "Gather": 30, "GatherND": 30, "GatherElements": 24, "ScatterND": 36, "Softmax": 30,
          "GlobalAveragePool": 24, "Reshape": 40, "Concat": 24, "Split": 32}
ATTEMPTS = 200


def plan(op):
    """[(since, opset, index)] of an operator's cases: opset steps evenly, their ends first."""
    steps = steps_of(op)
    total = max(MINIMUM.get(op, 0), WANTED.get(op, 0), OPERATOR_MINIMUM)
    each = max(STEP_MINIMUM, -(-total // len(steps)))
    cases = []
    for since, first, last in steps:
        for index in range(each):
            pick = np.random.default_rng(zlib.crc32(f"{op}/{since}/{index}".encode()))
            opset = int(pick.integers(first, last + 1))
            cases.append((since, (first, last, opset)[min(index, 2)], index))
    return cases


def draw(op, since, opset, index):
    """Draws until a case is usable: (case, model, outputs, oracle)."""
    reason = "never drawn"
    for attempt in range(ATTEMPTS):
        case = Case(op, since, opset, index, attempt)
        try:
            BUILDERS[op](case)
        except Reject as reject:
            reason = str(reject)
            continue
        model = case.model(None)
        for oracle in case.order():
            values = case.expect(model, oracle)
            if values is not None:
                break
        else:
            reason = "no oracle runs it: " + onnx.printer.to_text(model.graph)
            continue
        values = case.rounded(values)
        if not sane(values):
            reason = "values too large or not finite"
            continue
        model = case.model([v.shape if index % 2 else [None] * v.ndim for v in values])
        check(model)
        return case, model, values, oracle
    raise RuntimeError(f"{op} opset {opset} case {index}: {reason}")


def disagreements(case, model, values, oracle):
    """Lines naming the other oracles that differ from the one used."""
    lines = []
    for other in ("onnxruntime", "numpy", "reference"):
        theirs = case.expect(model, other) if other != oracle else None
        if theirs is None:
            continue
        for (name, dtype), a, b in zip(case.outputs, values, theirs):
            b = np.asarray(b)
            rtol = 1e-3 if dtype == np.float16 else 1e-4
            if a.shape != b.shape:
                lines.append(f"{oracle} {a.shape} but {other} {b.shape}")
            elif not np.allclose(a.astype(float), b.astype(float), rtol, 1e-5, equal_nan=True):
                worst = np.abs(a.astype(float) - b.astype(float)).max()
                lines.append(f"{oracle} and {other} differ by {worst:.3g} in {name}")
    return lines


def write(folder, case, model, values, oracle):
    """Writes one case."""
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for kind, tensors in (("input", case.inputs),
                          ("output", [(n, v) for (n, _), v in zip(case.outputs, values)])):
        for i, (name, array) in enumerate(tensors):
            array = np.ascontiguousarray(array).reshape(array.shape)
            proto = numpy_helper.from_array(array, name)
            (data / f"{kind}_{i}.pb").write_bytes(proto.SerializeToString())
    text = oracle + (f": {case.note}" if case.note and oracle == case.prefer else "")
    (folder / "oracle.txt").write_text(text + "\n")


def generate(task):
    """All cases of one operator's one step: counts and messages."""
    op, cases, out, cross_check = task
    counts, oracles, messages = {}, {}, []
    for since, opset, index in cases:
        name = f"{op.lower()}_v{since}_opset{opset}_{index:03d}"
        try:
            case, model, values, oracle = draw(op, since, opset, index)
        except Exception as error:      # one broken builder must not hide the others
            messages.append(f"{name}: {type(error).__name__}: {error}")
            continue
        write(out / op / name, case, model, values, oracle)
        counts[since] = counts.get(since, 0) + 1
        oracles[oracle] = oracles.get(oracle, 0) + 1
        if cross_check:
            messages += [f"{name}: {line}" for line in disagreements(case, model, values, oracle)]
    return op, counts, oracles, messages


def missing(manifest, ops):
    """Lines naming every operator and step with too few cases."""
    lines = []
    for op in ops:
        steps = manifest["operators"].get(op, {}).get("steps", {})
        least = max(MINIMUM.get(op, 0), OPERATOR_MINIMUM)
        if sum(steps.values()) < least:
            lines.append(f"{op}: {sum(steps.values())} cases, {least} wanted")
        for since, first, last in steps_of(op):
            if steps.get(str(since), 0) < STEP_MINIMUM:
                lines.append(f"{op} of opset {first}..{last}: {steps.get(str(since), 0)} cases, "
                             f"{STEP_MINIMUM} wanted")
    return lines


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--only", help="operators, separated by commas")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cross-check", action="store_true",
                        help="also report where the oracles differ")
    args = parser.parse_args()
    ops = args.only.split(",") if args.only else sorted(BUILDERS)
    tasks = []
    for op in ops:
        shutil.rmtree(args.out / op, ignore_errors=True)
        cases = plan(op)
        for i in range(0, len(cases), 50):
            tasks.append((op, cases[i:i + 50], args.out, args.cross_check))
    tasks.sort(key=lambda t: -len(t[1]))

    manifest = {"packages": {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__,
                             "numpy": np.__version__},
                "opsets": [6, 22], "cases": 0, "oracles": {}, "operators": {}}
    with multiprocessing.Pool(args.jobs) as pool:
        for op, counts, oracles, messages in pool.imap_unordered(generate, tasks):
            entry = manifest["operators"].setdefault(op, {"cases": 0, "steps": {}, "oracles": {}})
            for since, count in counts.items():
                entry["cases"] += count
                manifest["cases"] += count
                entry["steps"][str(since)] = entry["steps"].get(str(since), 0) + count
            for oracle, count in oracles.items():
                for totals in (entry["oracles"], manifest["oracles"]):
                    totals[oracle] = totals.get(oracle, 0) + count
            for message in messages:
                print(message, file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    (args.out / "manifest.json").write_text(text)
    lines = missing(manifest, ops)
    print(f"{manifest['cases']} cases of {len(manifest['operators'])} operators: "
          + ", ".join(f"{n} by {o}" for o, n in sorted(manifest["oracles"].items())))
    for line in lines:
        print(f"generate: {line}", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
