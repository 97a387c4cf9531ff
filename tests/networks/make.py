#!/usr/bin/env python3
"""Makes the conditioned networks that Osprey is compared on.

    make.py NAME... --out CACHE_DIR       make.py --list

Architectures come from the configurations inside the ultralytics package, weights from a seed;
condition.py makes the outputs depend on the input. Written to CACHE_DIR:
    NAME.onnx          as Ultralytics exports it, batch and size free
    NAME.parts.onnx    the same with further outputs, see parts.py
    NAME.json          facts: versions, opset, operators, cosines between images, score span
A network counts only if two images give distances and logits of cosine below COSINE, class scores
span LOW to HIGH of condition.py, and noise in an image moves no map by more than AMPLIFICATION times
as much; otherwise nothing is written and the exit status is 1.
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import sys
import zlib

import numpy as np
import onnx
import onnxruntime
import torch

import condition
import exporter
import parts
import scenes

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "cases"))
from select_tests import OPERATORS      # noqa: E402

COSINE = 0.9
AMPLIFICATION, NOISE = 20, np.float32(1e-4)     # our trained model: 2.9
IMAGES = 4
MAPS = "part_map0", "part_map1", "part_map2"
# name: (configuration, opset, simplified by onnxslim as Ultralytics does by default, end-to-end)
NETWORKS = {
    "yolov5nu": ("yolov5n.yaml", 12, True, False),
    "yolov8n": ("yolov8n.yaml", 13, True, False),
    "yolov8s": ("yolov8s.yaml", 19, False, False),
    "yolo11n": ("yolo11n.yaml", 17, True, False),
    "yolo11s": ("yolo11s.yaml", 18, False, False),
    "yolo11m": ("yolo11m.yaml", 17, True, False),
    "yolo26n": ("yolo26n.yaml", 17, True, True),
    "yolo26n-o2m": ("yolo26n.yaml", 16, True, False),
    "yolo26s": ("yolo26s.yaml", 20, True, True),
    "rtdetr-l": ("rtdetr-l.yaml", 17, True, False),
}
# Configurations whose scores would otherwise not reach down to 0.05 on other scenes.
LOW_QUANTILE = {"yolov5n.yaml": 0.05, "yolo11m.yaml": 0.05, "yolo26n.yaml": 0.05}


def export(name):
    """Builds, conditions and exports one network: (onnx.ModelProto, facts)."""
    from ultralytics import RTDETR, YOLO
    from ultralytics.utils import ROOT, YAML
    config, opset, simplify, end2end = NETWORKS[name]
    torch.manual_seed(zlib.crc32(config.encode()))
    network = (RTDETR if name.startswith("rtdetr") else YOLO)(config)
    network.model.names = YAML.load(ROOT / "cfg/datasets/coco.yaml")["names"]
    facts = condition.condition(network.model,
                                LOW_QUANTILE.get(config, condition.LOW_QUANTILE))
    model = exporter.export(network, imgsz=640, opset=opset, simplify=simplify,
                            nms=False if end2end else None)
    stated = {e.key: e.value for e in model.metadata_props}["end2end"]
    if stated != str(end2end):
        raise RuntimeError(f"{name}: metadata says end2end {stated}")
    facts.update(name=name, opset=model.opset_import[0].version, simplified=simplify,
                 end2end=end2end, configuration=config)
    return model, facts


def cosine(a, b):
    """Cosine of two arrays taken as vectors."""
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))


def amplification(run, noisy):
    """How much farther off a map is for noise in the image, each relative to its size."""
    return max(float(np.linalg.norm(noisy[m] - run[m]) / run[m].std() / run[m].size**0.5 / NOISE)
               for m in MAPS)


def measure(model):
    """Facts about what the network answers to IMAGES scenes, by ONNX Runtime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    boxes = "part_boxes" if "part_boxes" in names else "part_distances"
    images = [scenes.batch(1 + i, 1, 640, 640) for i in range(IMAGES)]
    noise = 1 + NOISE * np.random.default_rng(0).standard_normal(images[0].shape, np.float32)
    runs, noisy = ([dict(zip(names, session.run(None, {"images": image}))) for image in batch]
                   for batch in (images, [image * noise for image in images]))
    facts = {"amplification": round(max(map(amplification, runs, noisy)), 1)}
    for part in (boxes, "part_logits", *MAPS):
        pairs = [cosine(runs[i][part], runs[j][part])
                 for i in range(IMAGES) for j in range(i + 1, IMAGES)]
        facts[f"cosine_{part[5:]}"] = {"lowest": round(min(pairs), 4),
                                       "median": round(float(np.median(pairs)), 4)}
    logits = np.stack([r["part_logits"] for r in runs])
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    best = scores.max(axis=3 if boxes == "part_boxes" else 2)
    # The lowest score alone would be no measure: one value in a million is an outlier.
    facts["score_span"] = [round(float(f), 4) for f in (np.quantile(scores, 0.01), scores.max())]
    facts["best_score"] = [round(float(f(best)), 4) for f in (np.min, np.median, np.max)]
    facts["best_above_0.25"] = round(float((best > 0.25).mean()), 4)
    spread = np.stack([r[boxes] for r in runs])
    facts[f"{boxes[5:]}"] = {"mean": round(float(spread.mean()), 3),
                             "std": round(float(spread.std()), 3),
                             "lowest": round(float(spread.min()), 3),
                             "highest": round(float(spread.max()), 3)}
    return facts, boxes[5:]


def objections(facts, boxes):
    """Why a network does not count."""
    lines = []
    for part in (boxes, "logits"):
        lowest = facts[f"cosine_{part}"]["lowest"]
        if lowest >= COSINE:
            lines.append(f"{part} of any two images have cosine {lowest} or more")
    if facts["amplification"] > AMPLIFICATION:
        lines.append(f"noise comes out {facts['amplification']} times as strong")
    low, high = facts["score_span"]
    if low > condition.LOW or high < condition.HIGH:
        lines.append(f"scores span {low} to {high} only")
    return lines


def make(name, out):
    """Makes one network; returns the objections."""
    model, facts = export(name)
    whole = parts.with_parts(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.checker.check_model(whole, full_check=True)
    measured, boxes = measure(whole)
    facts.update(measured)
    counts = collections.Counter(n.op_type for n in model.graph.node)
    facts["operators"] = dict(counts.most_common())
    facts["outside_t0_t1"] = sorted(set(counts) - OPERATORS)
    import ultralytics
    facts["versions"] = {"ultralytics": ultralytics.__version__, "torch": torch.__version__,
                         "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__,
                         "numpy": np.__version__}
    lines = objections(facts, boxes)
    if not lines:
        data = model.SerializeToString()
        facts["sha256"] = hashlib.sha256(data).hexdigest()
        (out / f"{name}.onnx").write_bytes(data)
        (out / f"{name}.parts.onnx").write_bytes(whole.SerializeToString())
        (out / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{name}: opset {facts['opset']}, cosine of {boxes} "
          f"{facts[f'cosine_{boxes}']['lowest']}, of logits {facts['cosine_logits']['lowest']}, "
          f"scores {facts['score_span'][0]} to {facts['score_span'][1]}, "
          f"noise times {facts['amplification']}, "
          f"outside T0 and T1: {', '.join(facts['outside_t0_t1']) or 'none'}", flush=True)
    return lines


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--list", action="store_true", help="print the names of all networks")
    args = parser.parse_args()
    if args.list:
        print("\n".join(NETWORKS))
        return 0
    unknown = sorted(set(args.names) - set(NETWORKS))
    if unknown or not args.names or args.out is None:
        parser.error(f"unknown network {', '.join(unknown)}" if unknown else "NAME... and --out")
    args.out.mkdir(parents=True, exist_ok=True)
    exporter.be_quiet()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    failed = 0
    for name in args.names:
        for line in make(name, args.out):
            print(f"make: {name} does not count: {line}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
