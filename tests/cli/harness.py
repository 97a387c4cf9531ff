"""What the tests of the program share: running it, and small files made here (standard library
only, so that they need no virtual environment)."""

import ast
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("OSPREY_PROGRAM", str(ROOT / "build/bin/osprey"))
TINY = str(ROOT / "tests/data/tiny.onnx")
AERIAL = str(ROOT / "models/osprey-aerial.onnx")
SAMPLES = ROOT / "models/samples"

DONE, FAILED, USAGE, INPUT, UNSUPPORTED, DEVICE = range(6)


class Case(unittest.TestCase):
    """A folder of its own, an engine cache in it, and a clean environment."""

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="osprey-cli-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("OSPREY_")}
        self.env["OSPREY_CACHE_DIR"] = str(self.dir / "cache")
        # Tests run side by side: threads that wait must not spin.
        self.env.setdefault("OMP_WAIT_POLICY", "passive")
        # Choosing by itself warns of the backends that are not there; see test_usage.py.
        self.env["OSPREY_BACKEND"] = "cpu"

    def run_osprey(self, *words, env=None, **options):
        return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True,
                              timeout=120, cwd=self.dir, env={**self.env, **(env or {})}, **options)

    def ok(self, *words, env=None):
        """Ends well and says nothing on standard error; what it printed."""
        result = self.run_osprey(*words, env=env)
        self.assertEqual(result.returncode, DONE, (words, result.stderr))
        self.assertEqual(result.stderr, "", words)
        return result.stdout

    def json(self, *words, env=None):
        return json.loads(self.ok(*words, "--json", env=env))

    def fails(self, status, *words, env=None):
        """Ends with `status`, prints nothing, and tells why in one line; that line."""
        result = self.run_osprey(*words, env=env)
        self.assertEqual(result.returncode, status, (words, result.stdout, result.stderr))
        self.assertEqual(result.stdout, "", words)
        self.assertRegex(result.stderr, r"\Aosprey: [^\n]+\n\Z", words)
        return result.stderr

    def write(self, name, data):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return str(path)


# ---- Protobuf and ONNX, as little as needed -----------------------------------------------------


def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, value):
    """A varint for int, else a length-delimited field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def value_info(name, dims, dtype=1):
    shape = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, dtype) + field(2, shape)))


def onnx_node(op, inputs, outputs, name=None, domain=""):
    return (b"".join(field(1, i) for i in inputs) + b"".join(field(2, o) for o in outputs) +
            field(3, name or op.lower()) + field(4, op) + (field(7, domain) if domain else b""))


def onnx_model(nodes, inputs, outputs, opset=17):
    """inputs and outputs: lists of (name, dims[, dtype])."""
    graph = (b"".join(field(1, n) for n in nodes) + field(2, "made") +
             b"".join(field(11, value_info(*i)) for i in inputs) +
             b"".join(field(12, value_info(*o)) for o in outputs))
    return field(1, 8) + field(7, graph) + field(8, field(2, opset))


def relu_model():
    """Two outputs whose names need replacing, and then are the same."""
    return onnx_model([onnx_node("Relu", ["x"], ["a/b"]), onnx_node("Sigmoid", ["x"], ["a:b"])],
                      [("x", [2, 3])], [("a/b", [2, 3]), ("a:b", [2, 3])])


# ---- Tensors ------------------------------------------------------------------------------------


def npy(dims, values, code="f", descr="<f4"):
    shape = "(" + "".join(f"{d}," for d in dims) + ")"
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    return (b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
            struct.pack(f"<{len(values)}{code}", *values))


def read_npy(path):
    """(shape, values) of a float32 file."""
    data = pathlib.Path(path).read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00", data[:8]
    length = struct.unpack("<H", data[8:10])[0]
    header = ast.literal_eval(data[10:10 + length].decode().strip())
    assert header["descr"] == "<f4" and not header["fortran_order"], header
    body = data[10 + length:]
    return header["shape"], list(struct.unpack(f"<{len(body) // 4}f", body))
