#!/usr/bin/env python3
"""mAP50-95 of our demo model in FP16 and in FP32 on a set of scenes, both on one backend.

    check_map.py --bin build/bin --scenes DIR [--backend cuda] [--most 0.002] [--low fp16]

DIR holds pictures and ground_truth.json, as models/scenes.py writes them. Needs numpy alone: the figure
is worked out here as pycocotools does it (all areas, at most 300 boxes a picture). Exit status: 0 the
two are within `most`, 1 not, 5 no device.
"""
import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/osprey-aerial.onnx"
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


def overlaps(found, truth):
    """Intersection over union of boxes x y w h: (found, truth)."""
    a, b = found[:, None], truth[None]
    w = np.minimum(a[..., 0] + a[..., 2], b[..., 0] + b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    h = np.minimum(a[..., 1] + a[..., 3], b[..., 1] + b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    inner = np.clip(w, 0, None) * np.clip(h, 0, None)
    return inner / (a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - inner)


def hits(boxes, truth):
    """(thresholds, boxes): which boxes, by falling score, take an object that nobody took before."""
    taken = np.zeros((len(THRESHOLDS), len(truth)), bool)
    hit = np.zeros((len(THRESHOLDS), len(boxes)), bool)
    if not len(truth):
        return hit
    share = overlaps(boxes, truth)
    for t, threshold in enumerate(THRESHOLDS):
        for k in range(len(boxes)):
            free = np.where(taken[t], -1, share[k])
            # Of equal ones the last, as pycocotools takes it.
            best = len(free) - 1 - int(free[::-1].argmax())
            if free[best] >= threshold - 1e-10:
                taken[t, best] = hit[t, k] = True
    return hit


def average_precision(scores, hit, objects):
    """Mean over thresholds of one class."""
    order = np.argsort(-scores, kind="stable")
    right = hit[:, order].cumsum(1)
    precision = right / np.arange(1, right.shape[1] + 1)
    precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    total = 0.0
    for t in range(len(THRESHOLDS)):
        at = np.searchsorted(right[t] / objects, RECALLS, side="left")
        inside = at < right.shape[1]
        total += np.where(inside, precision[t][np.minimum(at, right.shape[1] - 1)], 0).mean()
    return total / len(THRESHOLDS)


def mean_average_precision(found, truth):
    """`found`: {file: rows x1 y1 x2 y2 score class}; `truth`: a COCO document."""
    objects = {}
    for a in truth["annotations"]:
        objects.setdefault((a["image_id"], a["category_id"]), []).append(a["bbox"])
    classes = []
    for category in sorted({c for _, c in objects}):
        scores, hit, count = [], [], 0
        for image in truth["images"]:
            rows = found[image["file_name"]]
            rows = rows[rows[:, 5] == category]
            rows = rows[np.argsort(-rows[:, 4], kind="stable")][:300]
            boxes = np.array(objects.get((image["id"], category), []), np.float64).reshape(-1, 4)
            corners = np.concatenate([rows[:, :2], rows[:, 2:4] - rows[:, :2]], 1)
            scores.append(rows[:, 4])
            hit.append(hits(corners, boxes))
            count += len(boxes)
        if sum(map(len, scores)):
            classes.append(average_precision(np.concatenate(scores), np.concatenate(hit, 1), count))
        else:
            classes.append(0.0)
    return float(np.mean(classes))


def detect(args, precision):
    """{file: rows}; ends the program where it fails."""
    command = [str(args.bin / "osprey"), "detect", str(MODEL), str(args.scenes), "--format", "json",
               "--no-draw", "--no-cache", "--quiet", "--backend", args.backend, "--precision",
               precision, "--size", "640x640", "--conf", "0.001", "--max-det", "300"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        print(f"check_map: osprey detect ended with {done.returncode}", file=sys.stderr)
        sys.exit(5 if done.returncode == 5 else 1)
    keys = ("x1", "y1", "x2", "y2", "score", "class_id")
    return {pathlib.Path(image["image"]).name:
            np.array([[d[k] for k in keys] for d in image["detections"]], np.float64).reshape(-1, 6)
            for image in json.loads(done.stdout)["images"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/bin")
    parser.add_argument("--scenes", type=pathlib.Path, default=ROOT / ".cache/scenes")
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--low", default="fp16", choices=("fp16", "bf16"))
    parser.add_argument("--most", type=float, default=0.002)
    args = parser.parse_args()
    truth = json.loads((args.scenes / "ground_truth.json").read_text())
    low, fp32 = (mean_average_precision(detect(args, p), truth) for p in (args.low, "fp32"))
    print(f"mAP50-95 on {len(truth['images'])} scenes, {args.backend}: {args.low} {low:.4f}, "
          f"fp32 {fp32:.4f}")
    return 0 if abs(low - fp32) <= args.most and fp32 > 0.5 else 1


if __name__ == "__main__":
    sys.exit(main())
