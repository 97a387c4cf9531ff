#!/usr/bin/env python3
"""Compares the conditioned networks on a backend with what expect.py wrote, part by part.

    compare.py NAME... --cache DIR --library libosprey.so [--backend cpu] [--precision fp32]
        [--results FILE.json]

The maps before the head, box distances, logits and one-to-many outputs: cosine and largest error
relative to the range. End-to-end rows are matched as a set. Of RT-DETR what belongs to queries that
both sides chose is compared; these must be nearly all, and ours the best by our own scores. A batch of
3 runs in the variant of 4. No step may run by the tactic `ref`. Ends with 5 where the backend has no
device, with 77 where the processor lacks a precision.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
from osprey_ctypes import OspreyError, Session  # noqa: E402

# Cosine, and error relative to the range. FP16 as emulate.py has it gives 0.99984 or more, the logits of
# rtdetr-l, and 0.034 or less, box distances of yolo11s.
LIMITS = {"fp32": (0.99999, 1e-3), "fp16": (0.9995, 1e-1), "bf16": (0.99, 5e-1)}
MATCH_IOU, MATCH_SCORE, MATCH_CORNER = 0.99, 1e-3, 0.01     # of rows, in FP32
LARGEST_STRIDE = 32


def similarity(ours, theirs):
    """Cosine, and the largest difference relative to the range of `theirs`."""
    a, b = ours.astype(np.float64).ravel(), theirs.astype(np.float64).ravel()
    cosine = a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30)
    return cosine, np.abs(a - b).max() / max(b.max() - b.min(), 1e-30)


def iou(box, boxes, corner):
    """Networks that nobody trained write boxes with x2 < x1 too: corners are sorted first. Boxes
    whose corners all agree to `corner` pixels are the same even where they have no area."""
    same = np.abs(box[:4] - boxes[:, :4]).max(1) <= corner
    box = np.concatenate([np.minimum(box[:2], box[2:4]), np.maximum(box[:2], box[2:4])])
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:4]),
                            np.maximum(boxes[:, :2], boxes[:, 2:4])], axis=1)
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:4], boxes[:, 2:4])
    inner = np.clip(high - low, 0, None).prod(1)
    area = (box[2:4] - box[:2]).prod() + (boxes[:, 2:4] - boxes[:, :2]).prod(1) - inner
    return np.where(same, 1, inner / np.maximum(area, 1e-12))


def corners(rows, size):
    """Corners in pixels: RT-DETR writes centre and size as fractions of the image's."""
    rows = rows.copy()
    rows[:, :4] *= np.array([size[1], size[0], size[1], size[0]], rows.dtype)
    rows[:, :2], rows[:, 2:4] = (rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2)
    return rows


def room(ours, theirs, precision, size):
    """(score, corner in pixels): by how much rows may differ. In FP32 fixed; in others as much as what
    the rows are made of does, whose cosines and largest errors have limits of their own."""
    if precision == "fp32":
        return MATCH_SCORE, MATCH_CORNER
    def most(name):
        return float(np.abs(ours[name].astype(np.float64) - theirs[name]).max())
    score = most("part_logits") / 4     # a sigmoid is nowhere steeper
    if "part_boxes" in theirs:
        return max(score, MATCH_SCORE), max(1.5 * most("part_boxes") * max(size), MATCH_CORNER)
    return max(score, MATCH_SCORE), max(most("part_distances") * LARGEST_STRIDE, MATCH_CORNER)


def unmatched_rows(ours, theirs, size, match):
    """Rows of one image without a partner on the other side: of its class, and near it by `match`. Rows
    whose score is within that of the last one's are left out: which made it is a matter of rounding.
    `size` is the image's where boxes are centre and size in fractions of it, otherwise None."""
    if size:
        ours, theirs = corners(ours, size), corners(theirs, size)
    missing = 0
    for these, those in ((theirs, ours), (ours, theirs)):
        last = min(these[:, 4].min(), those[:, 4].min())
        for row in these[these[:, 4] > last + match[0]]:
            near = np.abs(those[:, 4] - row[4]) <= match[0]
            partner = near & (those[:, 5] == row[5]) & (iou(row, those, match[1]) >= MATCH_IOU)
            missing += not partner.any()
    return missing


def by_query(values, queries):
    """Rows of RT-DETR's decoder ordered by the place of their query."""
    order = np.argsort(queries, axis=1, kind="stable")
    return np.take_along_axis(values, order[..., None], axis=1)


def chose_best(scores, queries):
    """Whether no place has a higher score than one that was chosen, in any image."""
    chosen = np.zeros(scores.shape, bool)
    np.put_along_axis(chosen, queries, True, axis=1)
    return bool((np.where(chosen, scores, np.inf).min(1)
                 >= np.where(chosen, -np.inf, scores).max(1)).all())


def without_swapped(rows, boxes, queries, common):
    """The rows of one image but for those of queries that are not in `common`: a row has the box of
    its query. Where rounding chose between two queries, their rows have no partner."""
    swapped = {box.tobytes() for box in boxes[~np.isin(queries, common)]}
    return rows[[row[:4].tobytes() not in swapped for row in rows]]


def compare_queries(ours, theirs, ends, precision):
    """The verdict on RT-DETR's queries. Leaves in both what belongs to those that both chose; in FP32,
    where expect.py's scenes leave no choice to rounding, `ends` keep all of their rows."""
    a, b = ours.pop("part_queries"), theirs.pop("part_queries")
    common = [np.intersect1d(x, y) for x, y in zip(a, b)]
    for side, queries in ((ours, a), (theirs, b)):
        for name in ends if precision != "fp32" else ():
            side[name] = [without_swapped(*image) for image in
                          zip(side[name], side["part_boxes"], queries, common)]
        for name in ("part_boxes", "part_logits"):
            side[name] = np.concatenate(
                [by_query(side[name][i:i + 1], queries[i:i + 1])[0][
                    np.isin(np.sort(queries[i]), common[i])] for i in range(len(a))])
    share = sum(map(len, common)) / a.size
    best = chose_best(ours["part_query_scores"], a)
    return ("queries", share > 0.99 and best,
            f"{share:.4f} in common{'' if best else ', not the best by their scores'}")


def compare_case(session, folder, precision):
    """[(part, verdict, text)] of one case."""
    limits = LIMITS[precision]
    names = session.output_names()
    batch = np.load(folder / "input.npy")
    ours = dict(zip(names, session.run(batch, len(names))))
    theirs = {name: np.load(folder / f"{name}.npy") for name in names}
    ends = [n for n, v in theirs.items() if v.ndim == 3 and v.shape[1:] == (300, 6)]
    rows = []
    if "part_queries" in names:
        rows.append(compare_queries(ours, theirs, ends, precision))
    for name, value in theirs.items():
        if name in ends:
            size = batch.shape[2:] if "part_boxes" in theirs else None
            match = room(ours, theirs, precision, batch.shape[2:])
            missing = sum(unmatched_rows(x, y, size, match) for x, y in zip(ours[name], value))
            rows.append((name, missing == 0, f"{missing} rows unmatched, within {match[0]:.1e} of "
                         f"score and {match[1]:.2f} pixels"))
            continue
        if ours[name].shape != value.shape:
            rows.append((name, False, f"shape {ours[name].shape}, not {value.shape}"))
            continue
        cosine, error = similarity(ours[name], value)
        rows.append((name, cosine >= limits[0] and error <= limits[1],
                     f"cosine {cosine:.7f}, error {error:.1e}"))
    return rows


def compare(name, args, results):
    """Prints one network's lines, adds them to `results`; returns how many failed."""
    failed = 0
    folders = sorted(f for f in (args.cache / name).iterdir() if f.is_dir())
    for folder in folders:
        batch, size = folder.name[1:].split("_")
        height, width = map(int, size.split("x"))
        session = Session(args.library, str(args.cache / f"{name}.parts.onnx"), height, width,
                          precision=args.precision, backend=args.backend, threads=args.threads,
                          batches=(1,) if batch == "1" else (1, 4))
        variant = 0 if batch == "1" else 1
        by_ref = sorted({f"{s[1]} ({s[3]})" for s in session.steps(variant) if s[2] == "ref"})
        rows = compare_case(session, folder, args.precision)
        if args.backend != "reference":
            rows.append(("steps", not by_ref,
                         f"{len(session.steps(variant))} steps, by ref: {'; '.join(by_ref) or 0}"))
        session.close()
        for part, fine, text in rows:
            results.append({"network": name, "case": folder.name, "part": part, "fine": bool(fine),
                            "told": text})
            failed += not fine
            if not fine or args.verbose:
                print(f"{name} {folder.name} {part}: {text}{'' if fine else '  FAILED'}")
        print(f"{name} {folder.name}: {sum(r[1] for r in rows)} of {len(rows)} fine", flush=True)
    return failed


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("names", nargs="+", metavar="NAME")
    p.add_argument("--cache", type=pathlib.Path, required=True)
    p.add_argument("--library", required=True)
    p.add_argument("--backend", default="cpu")
    p.add_argument("--precision", default="fp32", choices=LIMITS)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--verbose", action="store_true")
    p.add_argument("--results", type=pathlib.Path, help="all parts, as JSON")
    args = p.parse_args()
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    if args.precision == "bf16" and not {"avx512_bf16", "amx_bf16"} & set(flags):
        print("compare: skipped: this processor has no bf16 instructions")
        return 77
    missing = [n for n in args.names if not (args.cache / n / "expect.json").is_file()]
    if missing:
        print(f"compare: {', '.join(missing)}: no expectations in {args.cache}: run expect.py "
              "first", file=sys.stderr)
        return 1
    results = []
    try:
        failed = sum(compare(name, args, results) for name in args.names)
    except OspreyError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 5 if error.code == OspreyError.DEVICE else 1
    if args.results:
        args.results.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({"failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
