"""Scores the ONNX model with pycocotools on a folder of scenes.

    python scenes.py --split val --count 640 --out DIR
    python evaluate.py --model osprey-aerial.onnx --data DIR
    python evaluate.py --data DIR --detections FILE.json       score detections made by another program

Pictures are letterboxed to a square of `--size` where they are not that large
already; `--native` only pads them to multiples of 32 instead.  FILE.json is a
COCO result list: image_id, category_id, bbox [x, y, w, h], score.
"""

import argparse
import contextlib
import io
import json
import os

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

NAMES = ("car", "truck", "boat", "plane")
MOST = 300         # detections a picture counted by the metric: scenes hold up to 150 objects


def figures(truth, detections):
    """The figures of a COCO document and a list of detections."""
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = truth
        gt.createIndex()
        ev = COCOeval(gt, gt.loadRes(detections), "bbox")
        ev.params.maxDets = [1, 100, MOST]
        ev.evaluate()
        ev.accumulate()
    p, r = ev.eval["precision"], ev.eval["recall"]     # (threshold, recall, class, size, most), (threshold, class, size, most)
    mean = lambda v: float(np.mean(v[v > -1])) if (v > -1).any() else -1.0
    out = {"mAP50-95": mean(p[:, :, :, 0, 2]), "AP50": mean(p[0, :, :, 0, 2]), "AP75": mean(p[5, :, :, 0, 2])}
    for i, n in enumerate(("small", "medium", "large"), 1):
        out[n] = mean(p[:, :, :, i, 2])
    out["recall"] = mean(r[:, :, 0, 2])
    out["mAP50-95 at 100"] = mean(p[:, :, :, 0, 1])
    for i, n in enumerate(NAMES):
        out[n] = mean(p[:, :, i, 0, 2])
    return {k: round(v, 4) for k, v in out.items()}


def score_arrays(found, truth):
    """Figures of (n, 300, 6) detections against a list of (objects, 5) class and corners."""
    doc = {"info": {}, "images": [{"id": i + 1} for i in range(len(truth))], "annotations": [],
           "categories": [{"id": i, "name": n} for i, n in enumerate(NAMES)]}
    results = []
    for i, (rows, boxes) in enumerate(zip(found, truth), 1):
        for c, x1, y1, x2, y2 in np.asarray(boxes).tolist():
            doc["annotations"].append({"id": len(doc["annotations"]) + 1, "image_id": i, "category_id": int(c), "iscrowd": 0,
                                       "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})
        results += rows_to_results(rows, i)
    return figures(doc, results)


def rows_to_results(rows, image_id, least=0.001):
    """COCO results of one picture's rows x1 y1 x2 y2 score class."""
    return [{"image_id": image_id, "category_id": int(c), "bbox": [x1, y1, x2 - x1, y2 - y1], "score": s}
            for x1, y1, x2, y2, s, c in np.asarray(rows, np.float64).tolist() if s >= least]


def letterbox(image, size):
    """The picture scaled to fit (size, size), centred on grey; scale and offsets."""
    import cv2
    h, w = image.shape[:2]
    scale = min(size / h, size / w)
    nh, nw = round(h * scale), round(w * scale)
    if (nh, nw) != (h, w):
        image = cv2.resize(image, (nw, nh), interpolation=cv2.INTER_LINEAR)
    return pad(image, size, size, scale)


def pad(image, height, width, scale=1.0):
    """The picture centred on grey of (height, width)."""
    h, w = image.shape[:2]
    out = np.full((height, width, 3), 114, np.uint8)
    top, left = (height - h) // 2, (width - w) // 2
    out[top:top + h, left:left + w] = image
    return out, scale, left, top


def run_model(path, folder, truth, size, native, threads):
    """Detections of every picture of a COCO document."""
    import cv2
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    results = []
    for entry in truth["images"]:
        image = cv2.imread(os.path.join(folder, entry["file_name"]))
        if image is None:
            raise SystemExit(f"{entry['file_name']}: cannot be read in {folder}")
        if native:
            box, scale, left, top = pad(image, *(-(-v // 32) * 32 for v in image.shape[:2]))
        else:
            box, scale, left, top = letterbox(image, size)
        x = np.ascontiguousarray(box[..., ::-1].transpose(2, 0, 1)[None]).astype(np.float32) / 255
        rows = session.run(None, {"images": x})[0][0]
        rows[:, :4] = (rows[:, :4] - (left, top, left, top)) / scale
        rows[:, [0, 2]] = rows[:, [0, 2]].clip(0, entry["width"])
        rows[:, [1, 3]] = rows[:, [1, 3]].clip(0, entry["height"])
        results += rows_to_results(rows, entry["id"])
    return results


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = os.path.dirname(os.path.abspath(__file__))
    ap.add_argument("--model", default=os.path.join(here, "osprey-aerial.onnx"))
    ap.add_argument("--data", required=True, help="folder with the pictures and ground_truth.json")
    ap.add_argument("--detections", help="score this file instead of running the model")
    ap.add_argument("--save", help="write the detections here")
    ap.add_argument("--size", type=int, default=640)
    ap.add_argument("--native", action="store_true", help="do not scale the pictures")
    ap.add_argument("--threads", type=int, default=os.cpu_count())
    a = ap.parse_args()
    with open(os.path.join(a.data, "ground_truth.json")) as f:
        truth = json.load(f)
    if a.detections:
        with open(a.detections) as f:
            results = json.load(f)
    else:
        results = run_model(a.model, a.data, truth, a.size, a.native, a.threads)
    if a.save:
        with open(a.save, "w") as f:
            json.dump(results, f)
    print(json.dumps(figures(truth, results), indent=1))


if __name__ == "__main__":
    main()
