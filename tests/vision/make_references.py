#!/usr/bin/env python3
"""Writes tests/data/vision/resize.txt: what OpenCV and Ultralytics make of pictures that the C test
can make again, as CRC-32 of the bytes. Run it when a new OpenCV is to be followed:

    python tests/vision/make_references.py        (needs opencv-python-headless and ultralytics)

Lines: kind src_w src_h dst_w dst_h seed crc. Kinds: `resize` is cv2.resize INTER_LINEAR of three
channels; `letterbox` is Ultralytics' LetterBox(auto=False, scaleup=True, center=True);
`nv12` is cv2.cvtColor(COLOR_YUV2RGB_NV12) without resizing.
"""
import pathlib
import zlib

import cv2
import numpy as np
import ultralytics
from ultralytics.data.augment import LetterBox

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "vision" / "resize.txt"


def noise(count, seed):
    """Bytes that tests/unit/test_letterbox.c makes in the same way."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    return (x >> np.uint32(24)).astype(np.uint8)


def sizes(rng, count):
    """Small and large, odd and even, one pixel thin, and the ratios that have their own code."""
    for i in range(count):
        top = (8, 40, 160, 640, 1400)[i % 5]
        sw, sh, dw, dh = (int(v) for v in rng.integers(1, top + 1, 4))
        if i % 11 == 0:
            sw, sh = 2 * dw, 2 * dh
        elif i % 11 == 3:
            sw = 2 * dw
        elif i % 11 == 5:
            sw, sh = 4 * dw, 4 * dh
        elif i % 11 == 7:
            dw, dh = 2 * sw, 2 * sh
        elif i % 11 == 9:
            sw = 1 if i % 2 else sw
            sh = 1 if i % 3 else sh
        yield sw, sh, dw, dh


def main():
    rng = np.random.default_rng(20240817)
    lines = [f"# opencv {cv2.__version__} ultralytics {ultralytics.__version__}"]
    for seed, (sw, sh, dw, dh) in enumerate(sizes(rng, 1200)):
        src = noise(sw * sh * 3, seed).reshape(sh, sw, 3)
        dst = cv2.resize(src, (dw, dh), interpolation=cv2.INTER_LINEAR)
        lines.append(f"resize {sw} {sh} {dw} {dh} {seed} {zlib.crc32(dst.tobytes())}")
    for seed in range(200):
        sw, sh = (int(v) for v in rng.integers(1, (60, 300, 1400)[seed % 3], 2))
        dw, dh = (int(v) * 32 for v in rng.integers(1, 21, 2)) if seed % 2 else (640, 640)
        if seed % 10 == 0:
            sw, sh = 2 * dw, dh + 2 * (seed // 10)
        src = noise(sw * sh * 3, seed).reshape(sh, sw, 3)
        box = LetterBox((dh, dw), auto=False, scaleup=True, center=True)
        dst = np.ascontiguousarray(box(image=src))
        assert dst.shape == (dh, dw, 3)
        lines.append(f"letterbox {sw} {sh} {dw} {dh} {seed} {zlib.crc32(dst.tobytes())}")
    for seed in range(20):
        w, h = (int(v) * 2 for v in rng.integers(1, 100, 2))
        src = noise(w * h * 3 // 2, seed).reshape(h * 3 // 2, w)
        dst = cv2.cvtColor(src, cv2.COLOR_YUV2RGB_NV12)
        lines.append(f"nv12 {w} {h} {w} {h} {seed} {zlib.crc32(dst.tobytes())}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("\n".join(lines) + "\n")
    print(f"{OUT}: {len(lines) - 1} references")


if __name__ == "__main__":
    main()
