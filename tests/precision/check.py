#!/usr/bin/env python3
"""Writes models in float16 with osp_model_write and compares them with the originals.

    check.py MODEL.onnx... --library libosprey.so --input FILE

ONNX Runtime runs both files on the same pixels: every output must have a cosine above 0.9995, and
rows of end-to-end outputs must find their partner. Then Osprey's reference backend runs the written
file on a part of them, and must agree with both. It alone rounds after every node: on a CPU ONNX
Runtime drops the Casts between float16 nodes. Free dims must still be free.
FILE is a picture, or pixels (batch, 3, height, width) from 0 to 1 as .npy.
"""

import argparse
import ctypes as c
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import osprey_ctypes as osprey  # noqa: E402

COSINE = 0.9995
ROWS = (300, 6)
# Pixels beside the overlap, because networks that nobody trained make boxes a pixel wide.
MATCH_IOU, MATCH_PIXELS, MATCH_SCORE = 0.9, 2, 0.02
PART = (256, 320)        # the reference backend is slow


def write(library, model, path):
    """The model in float16."""
    lib, err = c.CDLL(library), osprey.Error()
    runtime, handle, options = c.c_void_p(), c.c_void_p(), osprey.Options()
    build = osprey.EngineOptions(precision=osprey.PRECISIONS["fp16"])
    status = (lib.osp_runtime_open_version(c.byref(runtime), c.byref(options), lib.osp_version(),
                                           c.byref(err))
              or lib.osp_model_open(c.byref(handle), runtime, model.encode(), c.byref(err))
              or lib.osp_model_write(handle, path.encode(), c.byref(build), c.byref(err)))
    lib.osp_model_close(c.byref(handle))
    lib.osp_runtime_close(c.byref(runtime))
    if status:
        raise RuntimeError(err.text.decode())


def read_pixels(path):
    """The first image, cut to whole strides."""
    if path.endswith(".npy"):
        image = np.load(path)[:1]
    else:
        rows = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
        image = rows.transpose(2, 0, 1)[None]
    return np.ascontiguousarray(image[:, :, :image.shape[2] // 32 * 32, :image.shape[3] // 32 * 32])


def middle(image):
    """A part of PART's size from its middle."""
    top, left = ((have - want) // 2 for have, want in zip(image.shape[2:], PART))
    return np.ascontiguousarray(image[:, :, top:top + PART[0], left:left + PART[1]])


def run_onnx(path, image):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    values = session.run(None, {session.get_inputs()[0].name: image})
    return dict(zip([o.name for o in session.get_outputs()], values))


def run_osprey(library, path, image):
    session = osprey.Session(library, path, *image.shape[2:], backend="reference", batches=(1,))
    names = session.output_names()
    found = {n: v.copy() for n, v in zip(names, session.run(image, len(names)))}
    session.close()
    return found


def cosine(a, b):
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30)


def overlap(box, boxes):
    """Corners are sorted first: networks that nobody trained write x2 < x1 too."""
    low_a, high_a = np.minimum(box[:2], box[2:4]), np.maximum(box[:2], box[2:4])
    low_b, high_b = np.minimum(boxes[:, :2], boxes[:, 2:4]), np.maximum(boxes[:, :2], boxes[:, 2:4])
    inner = np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None).prod(1)
    area = (high_a - low_a).prod() + (high_b - low_b).prod(1) - inner
    return np.where(np.abs(box[:4] - boxes[:, :4]).max(1) <= MATCH_PIXELS, 1,
                    inner / np.maximum(area, 1e-9))


def matched(ours, theirs):
    """Share of rows with a partner; rows near the last score may fall out for rounding."""
    rows = theirs[theirs[:, 4] > min(ours[:, 4].min(), theirs[:, 4].min()) + MATCH_SCORE]
    hits = [((np.abs(ours[:, 4] - r[4]) <= MATCH_SCORE) & (ours[:, 5] == r[5]) &
             (overlap(r, ours) >= MATCH_IOU)).any() for r in rows]
    return (np.mean(hits) if hits else 0.0), len(rows)  # nothing found proves nothing


def compare(what, ours, theirs):
    """Prints a line for each output; returns how many differ too much."""
    failed = 0
    for name, value in theirs.items():
        if value.ndim == 3 and value.shape[1:] == ROWS:
            share, count = matched(ours[name][0], value[0])
            fine, text = share >= 0.98, f"{share:.4f} of {count} rows found"
        else:
            similarity = cosine(ours[name], value)
            fine, text = similarity >= COSINE, f"cosine {similarity:.7f}"
        failed += not fine
        print(f"  {what} {name}: {text}{'' if fine else '  FAILED'}")
    return failed


def dims(value):
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def check_file(model, written):
    """Types and dims of inputs and outputs, and that it is smaller; prints the Casts."""
    onnx.checker.check_model(written)
    before, after = onnx.load(model).graph, onnx.load(written).graph
    for side in ("input", "output"):
        a, b = getattr(before, side), getattr(after, side)
        same = [(v.name, v.type.tensor_type.elem_type, dims(v)) for v in a] == \
               [(v.name, v.type.tensor_type.elem_type, dims(v)) for v in b]
        if not same:
            print(f"  {side}s changed  FAILED")
            return 1
    casts = [sum(n.op_type == "Cast" for n in g.node) for g in (before, after)]
    sizes = [pathlib.Path(p).stat().st_size / 2**20 for p in (model, written)]
    print(f"  {casts[0]} Casts before, {casts[1]} after; {sizes[0]:.1f} MiB, {sizes[1]:.1f} after")
    return int(sizes[1] > 0.6 * sizes[0])


def check(model, args):
    with tempfile.TemporaryDirectory() as folder:
        written = f"{folder}/fp16.onnx"
        write(args.library, model, written)
        print(pathlib.Path(model).name)
        failed = check_file(model, written)
        image = read_pixels(args.input)
        failed += compare("fp16 and fp32", run_onnx(written, image), run_onnx(model, image))
        image = middle(image)
        ours = run_osprey(args.library, written, image)
        failed += compare("reference and fp16", ours, run_onnx(written, image))
        return failed + compare("reference and fp32", ours, run_onnx(model, image))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("models", nargs="+", metavar="MODEL.onnx")
    p.add_argument("--library", required=True)
    p.add_argument("--input", required=True)
    args = p.parse_args()
    failed = sum(check(model, args) for model in args.models)
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
