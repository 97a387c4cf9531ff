#!/usr/bin/env python3
"""Writes tests/data/vision/images/: one small file for every kind of JPEG and PNG that must be read,
and images.txt with what OpenCV's imread makes of each: name, width, height, CRC-32 of the RGB bytes.

    python tests/vision/make_images.py        (needs opencv-python-headless, pillow, numpy)
"""
import pathlib
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "vision" / "images"
W, H = 45, 31


def picture():
    """Smooth colour with a corner mark, so that no turn or mirror leaves it as it is."""
    y, x = np.mgrid[0:H, 0:W]
    rgb = np.stack([x * 255 // W, y * 255 // H, (x * y) % 256], axis=2).astype(np.uint8)
    rgb[2:8, 3:12] = (255, 30, 30)
    rgb[20:24, 30:44] = (20, 240, 60)
    return rgb


def exif(orientation, big=False):
    e = ">" if big else "<"
    head = b"MM\0*" if big else b"II*\0"
    entries = struct.pack(e + "HHII", 0x0110, 2, 4, int.from_bytes(b"cam\0", "big"))
    entries += struct.pack(e + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return head + struct.pack(e + "IH", 8, 2) + entries + struct.pack(e + "I", 0)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(
        ">I", zlib.crc32(kind + data))


def pack_row(samples, depth):
    """One row of samples (any number of channels) as PNG stores it."""
    if depth == 16:
        return samples.astype(">u2").tobytes()
    if depth == 8:
        return samples.astype(np.uint8).tobytes()
    bits = "".join(format(int(v), f"0{depth}b") for v in samples.ravel())
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def png(samples, color, depth, interlaced=False, extra=b"", after=b""):
    """A PNG writer that does all that Pillow's does not."""
    h, w = samples.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                  (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for x0, y0, dx, dy in passes:
        part = samples[y0::dy, x0::dx]
        if part.size:
            raw += b"".join(b"\0" + pack_row(row, depth) for row in part)
    header = struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra +
            chunk(b"IDAT", zlib.compress(raw)) + after + chunk(b"IEND", b""))


def write_pngs(rgb):
    grey = rgb[..., 1]
    alpha = np.dstack([rgb, 255 - rgb[..., 0]])
    palette = np.random.default_rng(3).integers(0, 256, 768).astype(np.uint8)
    plte, trns = chunk(b"PLTE", palette.tobytes()), chunk(b"tRNS", bytes(range(256)))
    files = {
        "rgb8": png(rgb, 2, 8), "rgb8_interlaced": png(rgb, 2, 8, True),
        "rgb16": png(rgb.astype(np.uint16) * 257 + 77, 2, 16),
        "rgba8": png(alpha, 6, 8), "rgba16": png(alpha.astype(np.uint16) * 256 + 200, 6, 16),
        "grey8": png(grey, 0, 8), "grey16": png(grey.astype(np.uint16) * 256 + 9, 0, 16),
        "grey_alpha8": png(np.dstack([grey, rgb[..., 0]]), 4, 8),
        "grey_alpha16": png(np.dstack([grey, rgb[..., 0]]).astype(np.uint16) * 256, 4, 16),
        "palette8": png(grey, 3, 8, extra=plte),
        "palette8_alpha": png(grey, 3, 8, extra=plte + trns),
        "rgb8_key": png(rgb, 2, 8, extra=chunk(b"tRNS", struct.pack(">HHH", 255, 30, 30))),
        "rgb8_gamma": png(rgb, 2, 8, extra=chunk(b"gAMA", struct.pack(">I", 100000))),
        "exif6": png(rgb, 2, 8, extra=chunk(b"eXIf", exif(6))),
        "exif3_after": png(rgb, 2, 8, after=chunk(b"eXIf", exif(3, True))),
        "one_pixel": png(rgb[:1, :1], 2, 8),
    }
    for depth in (1, 2, 4):
        low = grey >> (8 - depth)
        files[f"grey{depth}"] = png(low, 0, depth)
        files[f"palette{depth}_interlaced"] = png(
            low, 3, depth, True, chunk(b"PLTE", palette[:3 << depth].tobytes()))
    for name, data in files.items():
        (OUT / f"{name}.png").write_bytes(data)


def write_jpegs(rgb):
    image = Image.fromarray(rgb)
    for name, sub in (("444", 0), ("422", 1), ("420", 2)):
        image.save(OUT / f"s{name}.jpg", quality=88, subsampling=sub)
    image.save(OUT / "progressive.jpg", quality=80, progressive=True)
    image.save(OUT / "restart.jpg", quality=80, restart_marker_rows=1)
    image.convert("L").save(OUT / "grey.jpg", quality=85)
    image.convert("CMYK").save(OUT / "cmyk.jpg", quality=90)
    Image.fromarray(rgb[:1, :1]).save(OUT / "one_pixel.jpg")
    bgr = rgb[..., ::-1]
    for name, factor in (("440", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440),
                         ("411", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411)):
        cv2.imwrite(str(OUT / f"s{name}.jpg"), bgr, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor])
    for orientation in range(1, 9):
        image.save(OUT / f"exif{orientation}.jpg", quality=85,
                   exif=b"Exif\0\0" + exif(orientation, orientation % 2 == 0))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    rgb = picture()
    write_pngs(rgb)
    write_jpegs(rgb)
    lines = [f"# opencv {cv2.__version__}"]
    for path in sorted(OUT.iterdir()):
        if path.suffix not in (".png", ".jpg"):
            continue
        seen = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert seen is not None, path
        seen = np.ascontiguousarray(seen[..., ::-1])
        lines.append(f"{path.name} {seen.shape[1]} {seen.shape[0]} {zlib.crc32(seen.tobytes())}")
    (OUT / "images.txt").write_text("\n".join(lines) + "\n")
    print(f"{OUT}: {len(lines) - 1} images")


if __name__ == "__main__":
    main()
