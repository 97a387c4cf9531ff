"""What the GPU benchmarks share: running the program, pictures to run it on."""

import json
import os
import pathlib
import struct
import subprocess
import zlib

import numpy as np


def has_gpu():
    """Does this machine have an NVIDIA GPU and its driver?"""
    if pathlib.Path("/dev/nvidiactl").exists():
        return True
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode == 0
    except OSError:
        return False


def write_png(path, pixels):
    """Rows of RGB bytes as a PNG, by the standard library alone."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], 1)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I",
                                                                        zlib.crc32(kind + data))

    path.write_bytes(b"\x89PNG\r\n\x1a\n"
                     + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(rows.tobytes(), 1)) + chunk(b"IEND", b""))


def write_images(folder, size, count=8):
    """Pictures of coarse squares, the same each time; the first one's pixels."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 255, (count, size // 32, size // 32, 3), np.uint8)
    pictures = coarse.repeat(32, 1).repeat(32, 2)
    for i, picture in enumerate(pictures):
        write_png(folder / f"{i}.png", picture)
    return pictures[0]


def environment(folder, libs=None):
    """Of the programs in a folder: a bundle has its libraries there, TensorRT's are in `libs`."""
    path = [str(p.resolve()) for p in (libs, folder) if p]
    path += filter(None, [os.environ.get("LD_LIBRARY_PATH")])
    env = dict(os.environ, LD_LIBRARY_PATH=":".join(path))
    if libs:
        env["OSPREY_LIBRARY_DIR"] = str(libs.resolve())
    return env


def bench(program, model, folder, seconds, *more, libs=None):
    """What `osprey bench` tells of a model and a folder of images."""
    command = [str(program), "bench", str(model), "--images", str(folder), "--json",
               "--seconds", str(seconds), *map(str, more)]
    result = subprocess.run(command, capture_output=True, text=True,
                            env=environment(program.parent, libs))
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}: {result.stderr[-500:]}")
    return json.loads(result.stdout)
