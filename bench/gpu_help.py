"""What the GPU benchmarks share: arguments, networks and pictures to run the program on, tables."""

import argparse
import json
import os
import pathlib
import struct
import subprocess
import sys
import zlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]


def arguments(description, quick):
    """A parser with what gpu_around and gpu_networks have in common. `quick`: what --quick makes of it."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/bin")
    p.add_argument("--skeletons", type=pathlib.Path, default=ROOT / ".cache/skeletons")
    p.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    p.add_argument("--quick", action="store_true", help=quick)
    p.add_argument("--json", type=pathlib.Path)
    p.add_argument("--markdown", type=pathlib.Path)
    return p


def script():
    """The name of the script that runs, for messages."""
    return pathlib.Path(sys.argv[0]).stem


def has_gpu():
    """Does this machine have an NVIDIA GPU and its driver?"""
    if pathlib.Path("/dev/nvidiactl").exists():
        return True
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode == 0
    except OSError:
        return False


def lacks_gpu(undone):
    """Is there none? Then that is told, with what was not done."""
    if has_gpu():
        return False
    print(f"{script()}: this machine has no NVIDIA GPU: nothing was {undone}", file=sys.stderr)
    return True


def precision(device):
    """What the engines of a device compute in."""
    return "FP16" if device == "cuda" else "FP32"


def fill(skeletons, network, folder):
    """The network's file with weights, made in `folder` unless it is there."""
    path = folder / f"{network}.onnx"
    if not path.exists():
        source = skeletons / f"{network}.onnx"
        if not source.exists():
            raise SystemExit(f"{script()}: {source} is missing: scripts/test-data skeletons makes it")
        subprocess.run([sys.executable, str(ROOT / "tests/networks/weights.py"), "fill", str(source),
                        str(path)], check=True, stdout=sys.stderr)
    return path


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


def verdict(met):
    """Of a target, in a table."""
    return "met" if met else "missed"


def table(about, head, rows):
    """In Markdown, with a paragraph above it; rows of texts."""
    lines = ["| " + " | ".join(row) + " |" for row in [head, *rows]]
    return "\n".join([about, "", lines[0], "|" + "---|" * len(head), *lines[1:]])


def publish(args, text, found):
    """Prints a table, and writes what --markdown and --json ask for."""
    print(text)
    if args.markdown:
        args.markdown.write_text(text + "\n")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
