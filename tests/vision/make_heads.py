#!/usr/bin/env python3
"""Writes tests/data/heads/: one tiny ONNX model for every kind of detection head, each with three
classes and with one, whose output does not depend on the picture, and what a detector must make of
them: expected.json, and the same as lines for the C test in expected.txt.

    python tests/vision/make_heads.py        (needs onnx and numpy)

A model is GlobalAveragePool -> Reshape -> Slice -> Mul by zero -> Add of a constant: (N,K,6) and so
on, with a free batch and an input of 64 x 64. Expected boxes are worked out here from the heads'
definitions, in plain numpy and doubles, and never by Osprey.

Lines of expected.txt: `case FILE width height images boxes` followed by `box x1 y1 x2 y2 score
class` lines, of one image; or `refused FILE word`.
"""
import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "heads"
SIDE = 64
SIZES = ((64, 64), (100, 60), (33, 97))
NAMES = ["car", "rider's bike", "plane"]


def model(path, outputs, metadata):
    """outputs: {name: constant of rank 3 with leading 1}."""
    nodes = [
        h.make_node("GlobalAveragePool", ["images"], ["mean"]),
        h.make_node("Reshape", ["mean", "rows"], ["flat"]),
        h.make_node("Slice", ["flat", "zero", "one", "one"], ["first"]),
        h.make_node("Mul", ["first", "nothing"], ["still"]),
    ]
    constants = {
        "rows": np.array([0, 3, 1], np.int64), "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64), "nothing": np.zeros((1,), np.float32),
    }
    infos = []
    for name, value in outputs.items():
        constants[name + "_value"] = value
        nodes.append(h.make_node("Add", ["still", name + "_value"], [name]))
        infos.append(h.make_tensor_value_info(name, T.FLOAT, ["batch", *value.shape[1:]]))
    graph = h.make_graph(
        nodes, "head", [h.make_tensor_value_info("images", T.FLOAT, ["batch", 3, SIDE, SIDE])],
        infos, [nh.from_array(v, k) for k, v in constants.items()])
    proto = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8,
                         producer_name="make_heads")
    h.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def to_source(box, size, stretch):
    """A box in input pixels to the source image, clipped."""
    w, hgt = size
    if stretch:
        nw, nh_, left, top = SIDE, SIDE, 0, 0
    else:
        r = min(SIDE / hgt, SIDE / w)
        nw, nh_ = max(round(w * r), 1), max(round(hgt * r), 1)
        left, top = round((SIDE - nw) / 2 - 0.1), round((SIDE - nh_) / 2 - 0.1)
    x = (np.asarray(box, float).reshape(2, 2) - (left, top)) / (nw / w, nh_ / hgt)
    return np.clip(x, 0, (w, hgt)).ravel().tolist()


def corners(b):
    cx, cy, w, hgt = b
    return [cx - w / 2, cy - hgt / 2, cx + w / 2, cy + hgt / 2]


def iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    v = min(a[3], b[3]) - max(a[1], b[1])
    common = max(w, 0) * max(v, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def suppress(rows):
    kept = []
    for row in sorted(rows, key=lambda r: -r[4]):
        if all(k[5] != row[5] or iou(k, row) <= 0.7 for k in kept):
            kept.append(row)
    return kept


# Boxes as centre and size in input pixels, score, class: near duplicates of one class and of two,
# one below the threshold, one over the border. With one class, all are class 0.
BOXES = [
    (20.0, 30.0, 16.0, 12.0, 0.90, 0), (20.5, 30.0, 16.0, 12.0, 0.80, 0),
    (20.0, 30.5, 16.0, 12.0, 0.70, 1), (44.0, 32.0, 10.0, 20.0, 0.60, 2),
    (50.0, 40.0, 6.0, 6.0, 0.20, 2), (60.0, 34.0, 20.0, 10.0, 0.50, 1),
    (32.0, 32.0, 1.5, 1.5, 0.26, 0),
]


def build(kind, classes):
    """Returns outputs, the boxes expected (input pixels, xyxy, score, class), and stretch."""
    boxes = [(*b[:5], b[5] % classes) for b in BOXES]
    rows = [(*corners(b[:4]), b[4], b[5]) for b in boxes if b[4] > 0.25]
    plain = sorted(rows, key=lambda r: -r[4])
    rng = np.random.default_rng(classes)
    if kind == "end2end":
        out = np.zeros((1, 12, 6), np.float32)
        for i, b in enumerate(boxes):
            out[0, i] = (*corners(b[:4]), b[4], b[5])
        return {"output0": out}, plain, False
    if kind == "yolo8":
        out = np.zeros((1, 4 + classes, 84), np.float32)
        out[0, 4:] = rng.random((classes, 84)) * 0.1
        for i, b in enumerate(boxes):
            at = (i * 11 + 3) % 84
            out[0, :4, at] = b[:4]
            out[0, 4 + b[5], at] = b[4]
        return {"output0": out}, suppress(rows), False
    if kind == "yolo5":
        out = np.zeros((1, 252, 5 + classes), np.float32)
        out[0, :, 4:] = rng.random((252, 1 + classes)) * 0.2
        for i, b in enumerate(boxes):
            at = (i * 37 + 3) % 252
            out[0, at, :4] = b[:4]
            out[0, at, 4] = 0.96
            out[0, at, 5:] = 0.01
            out[0, at, 5 + b[5]] = b[4] / 0.96
        return {"output": out}, suppress(rows), False
    normal = [[v / SIDE for v in b[:4]] for b in boxes]
    if kind == "detr":
        out = np.zeros((1, 12, 6), np.float32)
        for i, b in enumerate(boxes):
            out[0, i] = (*normal[i], b[4], b[5])
        return {"output0": out}, plain, True
    pred = np.full((1, 12, 4), 0.5, np.float32)
    logits = np.full((1, 12, classes), -6, np.float32)
    for i, b in enumerate(boxes):
        pred[0, i] = normal[i]
        logits[0, i, b[5]] = np.log(b[4] / (1 - b[4]))
    return {"logits": logits, "pred_boxes": pred}, plain, True


def metadata_of(kind, classes):
    """What exporters of each kind write; pairs have none and go by their shapes."""
    names = NAMES[:classes]
    written = {"task": "detect", "names": repr(dict(enumerate(names)))}
    if kind == "end2end":
        written["end2end"] = "True"
    elif kind == "yolo8":
        written.update(head="Detect", end2end="False")
    elif kind == "detr":
        written.update(head="RTDETRDecoder", end2end="False")
    elif kind == "yolo5":
        written = {"stride": "32", "names": repr(names)}
    else:
        return {}
    return written


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    cases, lines = [], []
    for kind in ("end2end", "yolo8", "yolo5", "detr", "detr-pair"):
        for classes in (3, 1):
            file = f"{kind}_nc{classes}.onnx"
            outputs, rows, stretch = build(kind, classes)
            model(OUT / file, outputs, metadata_of(kind, classes))
            for size in SIZES:
                boxes = [{"box": to_source(r[:4], size, stretch), "score": r[4], "class": r[5],
                          "name": NAMES[r[5]] if kind != "detr-pair" else None} for r in rows]
                cases.append({"model": file, "head": kind, "width": size[0], "height": size[1],
                              "boxes": boxes})
                lines.append(f"case {file} {size[0]} {size[1]} 3 {len(boxes)}")
                lines += ["box " + " ".join(f"{v:.6f}" for v in b["box"]) +
                          f" {b['score']:.6f} {b['class']}" for b in boxes]
    outputs, _, _ = build("end2end", 3)
    model(OUT / "ambiguous.onnx", outputs, {})
    model(OUT / "segment.onnx", outputs, {"task": "segment"})
    refused = [{"model": "ambiguous.onnx", "word": "end2end, detr"},
               {"model": "segment.onnx", "word": "segment"}]
    lines += [f"refused {r['model']} {r['word']}" for r in refused]
    (OUT / "expected.json").write_text(
        json.dumps({"cases": cases, "refused": refused}, indent=1) + "\n")
    (OUT / "expected.txt").write_text("\n".join(lines) + "\n")
    print(f"{OUT}: {len(cases)} cases, {len(refused)} refusals")


if __name__ == "__main__":
    main()
