#!/usr/bin/env python3
"""Writes tests/data/vision/nms.txt: which anchors Ultralytics' non_max_suppression (on torchvision)
keeps of tensors that tests/unit/test_nms.c makes again. Box coordinates are whole numbers, so that
its class offset costs no bits and the answers are exact. A plain numpy version must agree.

    python tests/vision/make_nms.py        (needs torch, torchvision, ultralytics)

Lines: head classes rows score iou agnostic max_det seed count anchors...
"""
import pathlib

import numpy as np
import torch
import torchvision  # noqa: F401  Ultralytics uses it once it is imported
from ultralytics.utils.nms import non_max_suppression

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "vision" / "nms.txt"


def noise(index, seed):
    x = index.astype(np.uint32) * np.uint32(2654435761) + np.uint32(seed) * np.uint32(40503)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    return x >> np.uint32(8)


def tensors(rows, classes, seed):
    """Boxes (rows,4) as cx cy w h, objectness (rows,), class scores (rows,classes)."""
    r = noise(np.arange(rows * (5 + classes)), seed).reshape(rows, 5 + classes)
    box = np.empty((rows, 4), np.float32)
    box[:, :2] = r[:, :2] % 600
    box[:, 2:] = 16 + r[:, 2:4] % 60 * 2
    unit = (r[:, 4:] % 65536).astype(np.float32) / np.float32(65536)
    if rows > 30000:  # no ties: Ultralytics' cut to 30,000 is not stable
        unit = (r[:, 4:] % 256 * 65536 + np.arange(rows)[:, None]).astype(np.float32)
        unit /= np.float32(1 << 24)
    return box, unit[:, 0], unit[:, 1:]


def brute_force(box, score, cls, iou, agnostic, max_det):
    """Greedy suppression as the definition has it."""
    order = np.lexsort((np.arange(len(score)), -score))[:30000]
    x1, y1 = box[:, 0] - box[:, 2] / 2, box[:, 1] - box[:, 3] / 2
    x2, y2 = box[:, 0] + box[:, 2] / 2, box[:, 1] + box[:, 3] / 2
    area = (x2 - x1) * (y2 - y1)
    kept = []
    for i in order:
        if len(kept) == max_det:
            break
        k = np.array(kept, int)
        w = np.clip(np.minimum(x2[i], x2[k]) - np.maximum(x1[i], x1[k]), 0, None)
        h = np.clip(np.minimum(y2[i], y2[k]) - np.maximum(y1[i], y1[k]), 0, None)
        over = w * h / (area[i] + area[k] - w * h) > np.float32(iou)
        if not (over & (agnostic | (cls[k] == cls[i]))).any():
            kept.append(int(i))
    return kept


def case(head, classes, rows, score, iou, agnostic, max_det, seed):
    box, objectness, unit = tensors(rows, classes, seed)
    scores = unit * objectness[:, None] if head == "yolo5" else unit
    x = torch.from_numpy(np.concatenate([box, scores], 1).T[None].copy())
    _, kept = non_max_suppression(x, score, iou, agnostic=agnostic, max_det=max_det, nc=classes,
                                  return_idxs=True, max_time_img=100)
    kept = [int(v) for v in kept[0]]
    cls, best = scores.argmax(1), scores.max(1)
    passed = np.flatnonzero(best > np.float32(score))
    mine = brute_force(box[passed], best[passed], cls[passed], iou, agnostic, max_det)
    assert [int(passed[i]) for i in mine] == kept, (head, classes, rows, seed)
    head_line = f"{head} {classes} {rows} {score} {iou} {int(agnostic)} {max_det} {seed}"
    return f"{head_line} {len(kept)} " + " ".join(map(str, kept))


def main():
    lines = []
    for seed in range(48):
        rows = (1, 20, 300, 2000)[seed % 4]
        classes = (1, 2, 7, 80)[seed // 4 % 4]
        score = (0.25, 0.5, 0.9, 0.001)[seed // 3 % 4]
        iou = (0.7, 0.45, 0.25, 0.5)[seed % 4]
        lines.append(case("yolo8" if seed % 3 else "yolo5", classes, rows, score, iou,
                          seed % 5 == 0, (300, 30, 1000)[seed % 3], seed))
    lines.append(case("yolo8", 2, 34000, 0.001, 0.25, False, 300, 100))
    lines.append(case("yolo8", 1, 34000, 0.001, 0.05, False, 3000, 101))
    OUT.write_text("\n".join(lines) + "\n")
    print(f"{OUT}: {len(lines)} cases")


if __name__ == "__main__":
    main()
