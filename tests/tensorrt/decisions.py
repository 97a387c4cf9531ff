#!/usr/bin/env python3
"""Which boxes of a yolo8 head are beyond doubt, where its numbers are known up to a bound.

Suppression is a chain of yes and no: two outputs that differ in the last bit may keep other boxes, where
an overlap lies at the threshold, or two scores are as good as equal. `fates` finds out which candidates
are kept, or not, whatever the numbers are within the bound; the rest are in doubt, each with the rule
that is open. So two backends can be compared exactly: all boxes beyond doubt have to agree.

    decisions.py MODEL.onnx PICTURE... [--size 640] [--relative 1e-6] [--trials 20]

shows how often noise of that size changes the boxes of a model, and by which rule, by ONNX Runtime
(needs onnxruntime and cv2; the functions need numpy alone).
"""
import argparse
import collections
import pathlib
import sys

import numpy as np

KEPT, DROPPED, DOUBT = range(3)
ROUNDING = 2e-6  # of an overlap, which is worked out in float32


def candidates(raw, conf):
    """Of one image's (4 + nc, A): anchors above conf by falling score, boxes, scores, classes, and by
    how much the best class is ahead of the next."""
    scores = raw[4:].astype(np.float64)
    best = scores.max(0)
    anchors = np.flatnonzero(best > conf)
    anchors = anchors[np.argsort(-best[anchors], kind="stable")]
    ranked = np.sort(scores[:, anchors], 0)
    lead = ranked[-1] - ranked[-2] if len(scores) > 1 else np.full(len(anchors), np.inf)
    x, y, w, h = raw[:4, anchors].astype(np.float64)
    boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)
    return anchors, boxes, best[anchors], scores[:, anchors].argmax(0), lead


def overlaps(box, boxes, apart=None):
    """Least and largest intersection over union where the edges of a pair may move by apart[:, 0] across
    and apart[:, 1] up and down."""
    bounds = []
    apart = np.zeros((len(boxes), 2)) if apart is None else apart
    for d in (-2 * apart, 2 * apart):
        w = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0]) + d[:, 0]
        h = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1]) + d[:, 1]
        inner = np.clip(w, 0, None) * np.clip(h, 0, None)
        area = sum(np.clip(b[..., 2] - b[..., 0] - d[:, 0], 0, None)
                   * np.clip(b[..., 3] - b[..., 1] - d[:, 1], 0, None) for b in (box, boxes))
        union = area - inner
        bounds.append(np.where(union > inner / 2, inner / np.maximum(union, 1e-12), inner > 0))
    return bounds[0] - ROUNDING, bounds[1] + ROUNDING


def kept(raw, conf=0.25, iou=0.7, most=300):
    """What suppression keeps: [(anchor, box, score, class)]."""
    anchors, boxes, scores, classes, _ = candidates(raw, conf)
    found = []
    for i in range(len(anchors)):
        if len(found) == most:
            break
        before = [j for j in found if classes[j] == classes[i]]
        both = overlaps(boxes[i], boxes[before])[0] + ROUNDING if before else np.zeros(0)
        if not (both > iou).any():
            found.append(i)
    return [(anchors[i], boxes[i], scores[i], classes[i]) for i in found]


def differences(a, b):
    """Of two (4 + nc, A): by how much each anchor's edges (across, up and down) and scores differ."""
    apart = np.abs(a.astype(np.float64) - b)
    return (apart[:2] + apart[2:4] / 2).T, apart[4:].max(0)


def fates(raw, box_apart, score_apart, conf=0.25, iou=0.7, most=300):
    """{anchor: (fate, why, box, score, class)} of all that might be above conf, where numbers are
    known to `differences`."""
    anchors, boxes, scores, classes, lead = candidates(raw, conf - score_apart.max())
    near, slack = box_apart[anchors], score_apart[anchors]
    settled = lead > 2 * slack  # which class it is of
    fate = np.full(len(anchors), KEPT)
    why = [""] * len(anchors)

    def doubt(i, reason):
        if fate[i] == KEPT:
            fate[i], why[i] = DOUBT, reason

    for i in range(len(anchors)):
        others = (fate != DROPPED) & (np.arange(len(anchors)) != i)
        may = others & (scores >= scores[i] - slack - slack[i])  # come before it
        must = others & (scores > scores[i] + slack + slack[i]) & (fate == KEPT)
        same = (classes == classes[i]) | ~settled | ~settled[i]
        rivals = np.flatnonzero(may & same)
        low, high = overlaps(boxes[i], boxes[rivals], near[rivals] + near[i])
        sure = must[rivals] & settled[rivals] & settled[i]
        if (sure & (low > iou)).any() or np.count_nonzero(must) >= most:
            fate[i] = DROPPED
            continue
        if scores[i] <= conf + slack[i]:
            doubt(i, "score at the threshold")
        if not settled[i]:
            doubt(i, "two classes as good as equal")
        if np.count_nonzero(may) >= most:
            doubt(i, "last places of the most that are told")
        if (sure & (high > iou)).any():
            doubt(i, "overlap at the threshold")
        if (~sure & (high > iou)).any():
            doubt(i, "order or fate of the suppressing box")
    return {a: (f, w, b, s, c)
            for a, f, w, b, s, c in zip(anchors, fate, why, boxes, scores, classes)}


def compare(known, boxes, box_apart, score_apart):
    """Detections (x1 y1 x2 y2 score class) against fates: what is wrong, and the doubts met."""
    rest, wrong = list(range(len(boxes))), []
    doubts = collections.Counter()

    def take(box, score, kind):
        for k in rest:
            if boxes[k][5] == kind and abs(boxes[k][4] - score) <= score_apart and \
                    np.abs(np.asarray(boxes[k][:4]) - box).max() <= box_apart:
                rest.remove(k)
                return True
        return False

    for anchor, (fate, why, box, score, kind) in known.items():
        if fate == DOUBT:
            doubts[why] += 1
        elif fate == KEPT and not take(box, score, kind):
            wrong.append(f"anchor {anchor} (class {kind}, score {score:.6f}) is missing")
    for anchor, (fate, _, box, score, kind) in known.items():
        if fate == DOUBT:
            take(box, score, kind)
    wrong += [f"a box of class {boxes[k][5]}, score {boxes[k][4]:.6f}, should not be there"
              for k in rest]
    return wrong, doubts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("pictures", nargs="+", type=pathlib.Path)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--relative", type=float, default=1e-6)
    parser.add_argument("--trials", type=int, default=20)
    args = parser.parse_args()
    import cv2
    import onnxruntime
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "detect"))
    from compare import letterbox
    session = onnxruntime.InferenceSession(args.model, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    total = changed = trials = unexplained = 0
    rules = collections.Counter()
    for path in args.pictures:
        image, _, _ = letterbox(cv2.imread(str(path)), args.size)
        image = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)[None])
        raw = session.run(None, {"images": image.astype(np.float32) / 255})[0][0]
        plain = {k[0] for k in kept(raw)}
        total += len(plain)
        for _ in range(args.trials):
            noise = args.relative * rng.uniform(-1, 1, raw.shape)
            other = (raw * (1 + noise)).astype(np.float32)
            known = fates(raw, *differences(raw, other))
            flips = plain ^ {k[0] for k in kept(other)}
            trials += 1
            changed += bool(flips)
            for anchor in flips:
                fate, why = known.get(anchor, (DROPPED, ""))[:2]
                unexplained += fate != DOUBT
                rules[why or "unexplained"] += 1
    print(f"{len(args.pictures)} pictures, {total} boxes; {trials} trials of one picture with noise of "
          f"{args.relative:g}: the boxes changed in {changed}")
    for rule, count in rules.most_common():
        print(f"  {count:5} {rule}")
    return unexplained > 0


if __name__ == "__main__":
    sys.exit(main())
