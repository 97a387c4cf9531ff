#!/usr/bin/env python3
"""Compares `osprey detect` with the same model in ONNX Runtime and cv2's letterbox.

    compare.py --program osprey --set FOLDER[:SIZE[:LIMIT]]... [--backend cpu] [--image-input uint8]

A FOLDER holds pictures and ground_truth.json (COCO), as models/scenes.py writes them; SIZE is the
side of the square input (default 640), LIMIT the number of pictures (default all). The other side is
worked out here as Ultralytics does it: BGR from cv2, letterboxed by INTER_LINEAR with grey 114, RGB
over 255. Boxes go back by the exact inverse of that resize, a ratio for each axis; Ultralytics takes
the one ratio from before rounding the sides to whole pixels, which at most moves a box by half a
pixel of the network's input. Two things must hold for each set:

- every box has a partner of its class on the other side: corners within 0.5 source pixels, score
  within 0.005, no partner used twice. Left out are boxes within 0.005 of the score threshold, and
  of the last score where a picture has as many boxes as there may be: which of those are told is a
  matter of rounding. Boxes of equal scores match in any order.
- mAP50-95 by pycocotools within 0.001.
"""

import argparse
import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models"))
from evaluate import NAMES, figures  # noqa: E402

CONF = 0.001            # low, as mAP wants it: then nearly every box is compared
MOST = 300
PIXELS, SCORE, MAP = 0.5, 0.005, 0.001


def letterbox(image, size):
    """Ultralytics' LetterBox: the picture on grey, the two ratios, left and top."""
    height, width = image.shape[:2]
    ratio = min(size / height, size / width)
    new_width, new_height = round(width * ratio), round(height * ratio)
    half_x, half_y = (size - new_width) / 2, (size - new_height) / 2
    if (width, height) != (new_width, new_height):
        image = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    top, bottom = round(half_y - 0.1), round(half_y + 0.1)
    left, right = round(half_x - 0.1), round(half_x + 0.1)
    image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT,
                               value=(114, 114, 114))
    return image, (new_width / width, new_height / height), (left, top)


def theirs(session, path, size):
    """Rows x1 y1 x2 y2 score class of one picture, by ONNX Runtime."""
    source = cv2.imread(str(path))
    if source is None:
        raise SystemExit(f"compare: {path}: cv2 cannot read it")
    image, ratios, corner = letterbox(source, size)
    image = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)[None])
    rows = session.run(None, {"images": image.astype(np.float32) / 255})[0][0].astype(np.float64)
    rows[:, :4] = (rows[:, :4] - corner * 2) / (ratios * 2)
    rows[:, [0, 2]] = rows[:, [0, 2]].clip(0, source.shape[1])
    rows[:, [1, 3]] = rows[:, [1, 3]].clip(0, source.shape[0])
    return rows[rows[:, 4] >= CONF]


def ours(args, paths, size):
    """The same of all pictures, by the program. It gets a folder of links: many names would make
    too long a line."""
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            (pathlib.Path(folder) / path.name).symlink_to(path.resolve())
        command = [args.program, "detect", args.model, folder, "--format", "json", "--no-draw",
                   "--backend", args.backend, "--size", f"{size}x{size}", "--conf", str(CONF),
                   "--image-input", args.image_input, "--max-det", str(MOST), "--no-cache", "--quiet", "--threads", str(args.threads)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"compare: {args.program} detect ended with {done.returncode}")
    found = {}
    for image in json.loads(done.stdout)["images"]:
        rows = [[d[k] for k in ("x1", "y1", "x2", "y2", "score", "class_id")]
                for d in image["detections"]]
        names = {(d["class_id"], d["class"]) for d in image["detections"]}
        if any(NAMES[number] != name for number, name in names):
            raise SystemExit(f"compare: wrong class names: {sorted(names)}")
        found[pathlib.Path(image["image"]).name] = np.array(rows, np.float64).reshape(-1, 6)
    if sorted(found) != sorted(p.name for p in paths):
        raise SystemExit("compare: the program's results are not of the pictures it was given")
    return [found[p.name] for p in paths]


def certain(a, b):
    """Which of a's rows must have a partner in b."""
    least = CONF
    for rows in (a, b):
        if len(rows) >= MOST:
            least = max(least, rows[:, 4].min())
    return np.flatnonzero(a[:, 4] > least + SCORE)


def partners(a, b, rows):
    """For each of a's `rows` a different row of b, or -1: augmenting paths, so that the choice
    among equals never leaves one without."""
    apart = np.abs(a[:, None, :4] - b[None, :, :4]).max(2)
    near = ((apart <= PIXELS) &
            (np.abs(a[:, None, 4] - b[None, :, 4]) <= SCORE) & (a[:, None, 5] == b[None, :, 5]))
    taken = {}

    def place(i, seen):
        for j in sorted(np.flatnonzero(near[i]), key=lambda j: apart[i, j]):
            if j not in seen:
                seen.add(j)
                if j not in taken or place(taken[j], seen):
                    taken[j] = i
                    return True
        return False

    for i in rows:
        place(i, set())
    found = {i: j for j, i in taken.items()}
    return np.array([found.get(i, -1) for i in rows], int)


def compare_picture(name, left, right):
    """Lines on boxes without a partner, and the largest differences of the others."""
    lines, pixels, score, count = [], 0.0, 0.0, 0
    for who, a, b in (("osprey", left, right), ("onnxruntime", right, left)):
        rows = certain(a, b)
        matched = partners(a, b, rows)
        count += len(rows) if a is left else 0
        for i, j in zip(rows, matched):
            if j < 0:
                same = b[b[:, 5] == a[i, 5]]
                best = same[np.abs(same[:, :4] - a[i, :4]).max(1).argmin()] if len(same) else None
                lines.append(f"{name}: only {who} has {np.round(a[i], 3).tolist()}, nearest "
                             f"{best if best is None else np.round(best, 3).tolist()}")
            else:
                pixels = max(pixels, np.abs(a[i, :4] - b[j, :4]).max())
                score = max(score, abs(a[i, 4] - b[j, 4]))
    return lines, pixels, score, count


def mean_precision(truth, found):
    """mAP50-95 of rows by picture."""
    results = [{"image_id": entry["id"], "category_id": int(row[5]), "score": row[4],
                "bbox": [row[0], row[1], row[2] - row[0], row[3] - row[1]]}
               for entry, rows in zip(truth["images"], found) for row in rows.tolist()]
    with contextlib.redirect_stdout(io.StringIO()):
        return figures(truth, results)["mAP50-95"]


def compare_set(args, text):
    """Prints one set's results; whether it holds."""
    folder, *rest = text.split(":")
    size = int(rest[0]) if rest else 640
    folder = pathlib.Path(folder)
    truth = json.loads((folder / "ground_truth.json").read_text())
    if len(rest) > 1:
        truth["images"] = truth["images"][:int(rest[1])]
        kept = {entry["id"] for entry in truth["images"]}
        truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] in kept]
    paths = [folder / entry["file_name"] for entry in truth["images"]]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    begun = time.monotonic()
    left = ours(args, paths, size)
    between = time.monotonic()
    right = [theirs(session, path, size) for path in paths]
    ended = time.monotonic()
    bad, pixels, score, count = [], 0.0, 0.0, 0
    for path, a, b in zip(paths, left, right):
        lines, p, s, n = compare_picture(path.name, a, b)
        bad += lines
        pixels, score, count = max(pixels, p), max(score, s), count + n
    print("\n".join(bad[:20]), end="\n" if bad else "")
    maps = mean_precision(truth, left), mean_precision(truth, right)
    fine = not bad and count and abs(maps[0] - maps[1]) <= MAP
    print(f"{folder.name} at {size}: {len(paths)} pictures, {count} boxes, {len(bad)} without a "
          f"partner, the others within {pixels:.4f} pixels and {score:.6f} score; mAP50-95 "
          f"{maps[0]:.4f}, {maps[1]:.4f} by ONNX Runtime; {between - begun:.1f} s and "
          f"{ended - between:.1f} s{'' if fine else '  FAILED'}", flush=True)
    return fine


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--set", action="append", required=True, metavar="FOLDER[:SIZE[:LIMIT]]")
    parser.add_argument("--model", default=str(ROOT / "models/osprey-aerial.onnx"))
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--image-input", default="auto", help="as of osprey detect")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    return 0 if all([compare_set(args, text) for text in args.set]) else 1


if __name__ == "__main__":
    sys.exit(main())
