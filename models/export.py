"""Writes the trained detector as ONNX.

    python export.py --weights RUN/ema.pt --out osprey-aerial.onnx
"""

import argparse
import warnings

import onnx
import torch

import network
from evaluate import NAMES


def export(model, path):
    """Batch normalisation folded, free batch and size, metadata for detection runtimes."""
    model = network.fuse(model).cpu()
    warnings.filterwarnings("ignore")
    torch.onnx.export(model, (torch.rand(2, 3, 320, 384),), path, opset_version=17, dynamo=False, do_constant_folding=True,
                      input_names=["images"], output_names=["detections"],
                      dynamic_axes={"images": {0: "batch", 2: "height", 3: "width"}, "detections": {0: "batch"}})
    doc = onnx.load(path)
    meta = {"description": "Osprey aerial detector: cars, trucks, boats and planes from above", "author": "Osprey",
            "version": "1", "task": "detect", "stride": "32", "imgsz": "[640, 640]",
            "names": str(dict(enumerate(NAMES))), "end2end": "True"}
    del doc.metadata_props[:]
    for k, v in meta.items():
        doc.metadata_props.add(key=k, value=v)
    doc.graph.name = "osprey-aerial"
    out = doc.graph.output[0].type.tensor_type.shape
    for d, v in zip(out.dim[1:], (network.TOP, 6)):
        d.Clear()
        d.dim_value = v
    onnx.checker.check_model(doc, full_check=True)
    onnx.save(doc, path)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--weights", required=True)
    ap.add_argument("--out", required=True)
    a = ap.parse_args()
    model = network.Detector()
    model.load_state_dict(torch.load(a.weights, map_location="cpu"))
    export(model, a.out)


if __name__ == "__main__":
    main()
