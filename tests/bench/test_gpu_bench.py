"""The GPU benchmarks on a CPU: what they compute is right, times mean nothing here."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import onnx

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests/networks")]
import gpu_around           # noqa: E402
import gpu_help             # noqa: E402
import gpu_networks         # noqa: E402
import weights              # noqa: E402

BIN = pathlib.Path(os.environ["OSPREY_BIN"])
NETWORK = ROOT / ".cache/networks/yolo11n.onnx"


def run(*command, **more):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)


class Weights(unittest.TestCase):
    def test_numbers_never_change(self):
        def split_mix(seed, i):     # one number, in Python's own integers
            mask = (1 << 64) - 1
            z = (seed + (i + 1) * 0x9E3779B97F4A7C15) & mask
            z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
            return ((z ^ (z >> 31)) >> 40) / 2**23 - 1

        for seed in (0, 7, 1 << 63, (1 << 64) - 1):
            self.assertEqual(weights.uniform(50, seed).tolist(),
                             [split_mix(seed, i) for i in range(50)])
        # Whoever changes these changes every figure that was measured with them.
        filled = weights.values("conv.weight", (4, 3, 2, 2), 0, 1.0)
        self.assertEqual((filled.shape, filled.dtype), ((4, 3, 2, 2), np.float32))
        self.assertEqual(hashlib.sha256(filled.tobytes()).hexdigest()[:16], "ec9b36bd6fde4765")
        many = weights.values("conv.weight", (100000,), 3, 0.5)
        self.assertAlmostEqual(float(many.std()), 0.5, places=2)
        self.assertAlmostEqual(float(many.mean()), 0, places=2)

    def test_strip_and_fill(self):
        model = onnx.load(NETWORK)
        shapes = [(t.name, tuple(t.dims)) for t in model.graph.initializer]
        kept = {t.name: t.raw_data for t in model.graph.initializer if np.prod(t.dims) < weights.LEAST}
        stripped = weights.strip(model)
        self.assertGreater(stripped, 60)
        self.assertLess(len(model.SerializeToString()), 200_000)
        again = onnx.ModelProto.FromString(model.SerializeToString())
        self.assertEqual(weights.fill(model, 1), stripped)      # a conditioned one has all its biases
        self.assertEqual(weights.fill(again, 1), stripped)
        self.assertEqual(model.SerializeToString(), again.SerializeToString())
        self.assertEqual(weights.fill(again, 1), 0)
        self.assertEqual([(t.name, tuple(t.dims)) for t in model.graph.initializer], shapes)
        for t in model.graph.initializer:
            if t.name in kept:
                self.assertEqual(t.raw_data, kept[t.name], t.name)
        onnx.checker.check_model(model)

    def test_command(self):
        with tempfile.TemporaryDirectory() as work:
            skeleton, full = pathlib.Path(work) / "s.onnx", pathlib.Path(work) / "f.onnx"
            script = ROOT / "tests/networks/weights.py"
            self.assertEqual(run(sys.executable, script, "strip", NETWORK, skeleton).returncode, 0)
            self.assertEqual(run(sys.executable, script, "fill", skeleton, full).returncode, 0)
            again = run(sys.executable, script, "fill", full, skeleton)
            self.assertEqual(again.returncode, 1)
            self.assertIn("nothing to fill", again.stderr)


class Converted(unittest.TestCase):
    def test_against_onnxruntime_and_the_authors(self):
        result = run(sys.executable, ROOT / "bench/onnx_to_torch.py", NETWORK, "--size", 96, "--batch",
                     2, "--authors", "yolo11n")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertNotIn("differs", result.stdout)
        self.assertRegex(result.stdout, r"convolution +88 +88\n")
        self.assertRegex(result.stdout, r"silu +77 +77\n")

    def test_unknown_operators_are_named(self):
        import onnx_to_torch
        node = onnx.helper.make_node("TopK", ["x", "k"], ["y", "i"], "top")
        info = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [node], "g", [info("x", 1, [1, 3, 4, 4])], [info("y", 1, [1, 3, 4, 2])],
            [onnx.numpy_helper.from_array(np.array([2]), "k")])
        with self.assertRaisesRegex(ValueError, "top: TopK"):
            onnx_to_torch.convert(onnx.helper.make_model(graph), (1, 3, 4, 4))


def made_up(ours, compiled, tensorrt=None):
    """A row's result with these ms."""
    ms = {"osprey": ours, "compile": compiled, **({"tensorrt": tensorrt} if tensorrt else {})}
    return {"missing": {"graph": "no reason"}, "cosine": {"compile": 0.9999}, "runs": 240,
            "load": {"compile": {"network": "converted from the file"}},
            "ms": {k: [0.9 * v, v, 1.1 * v] for k, v in ms.items()},
            "ratio": {k: [0.9 * v / ours, v / ours, 1.1 * v / ours] for k, v in ms.items()
                      if k != "osprey"}}


class Tables(unittest.TestCase):
    def test_verdicts(self):
        rows = [gpu_networks.Row("yolo11n", 1280, 4, ratio=1.6),
                gpu_networks.Row("yolo11s", 640, 1, ms=0.55)]
        results = [made_up(2.0, 3.0), made_up(0.5, 1.0, tensorrt=0.4)]
        found = gpu_networks.judged(rows, results)
        self.assertEqual(found[0][2], [("1.6 x torch.compile", False)])
        self.assertEqual(found[1][2], [("under 0.55 ms", True), ("ahead of TensorRT", False)])
        table = gpu_networks.markdown("about.", rows, results)
        lines = table.splitlines()
        self.assertEqual(lines[0], "about.")
        self.assertEqual(len({line.count("|") for line in lines[2:]}), 1)
        self.assertIn("| 2.000 (1.800 - 2.200) | 3.000 (2.700 - 3.300) |", lines[4])
        self.assertIn("| 1.50 (1.35 - 1.65) |", lines[4])
        self.assertTrue(lines[4].endswith("| 1.6 x torch.compile | missed |"))
        self.assertTrue(lines[5].endswith("| under 0.55 ms, ahead of TensorRT | met, missed |"))
        self.assertNotIn("PyTorch graph", table)

    def test_another_network_is_told(self):
        result = made_up(1.0, 2.0)
        result["cosine"]["compile"] = 0.5
        row = gpu_networks.Row("yolo11n", 1280, 4, ratio=1.6)
        self.assertIn("another network?", gpu_networks.judged([row], [result])[0][3])
        failed = {**made_up(1.0, 2.0), "missing": {"osprey": "out of memory"}, "ms": {}, "ratio": {}}
        self.assertIn("Osprey: out of memory", gpu_networks.markdown("", [row], [failed]))

    def test_cosine_is_that_of_the_worse_part(self):
        a = np.random.default_rng(1).random((84, 100))
        self.assertAlmostEqual(gpu_networks.cosine(a, a), 1)
        b = a.copy()
        b[4:] = np.random.default_rng(2).random((80, 100))
        self.assertLess(gpu_networks.cosine(a, b), 0.2)

    def test_rows(self):
        names = [r.name for r in gpu_networks.choose(gpu_networks.ROWS, "@640")]
        self.assertEqual(names, ["yolo11n@640", "yolo11s@640", "yolo11m@640"])
        names = [r.name for r in gpu_networks.choose(gpu_networks.ROWS, "yolo11x,yolo11n@640")]
        self.assertEqual(names, ["yolo11x@1280", "yolo11n@640"])
        self.assertEqual(len(gpu_networks.choose(gpu_networks.ROWS, "")), 7)
        for wrong in (["--only", "yolo12n"], ["--engines", "graph"], ["--rounds", "2"]):
            with self.assertRaises(SystemExit), open(os.devnull, "w") as nowhere:
                sys.stderr, kept = nowhere, sys.stderr
                try:
                    gpu_networks.parse(wrong)
                finally:
                    sys.stderr = kept

    def test_around(self):
        args = gpu_around.parse([])
        rates = {"engine": 100.0, "copies": 500.0, "page-locked": 80.0, "pageable": 90.0}
        found = {"build": {"cold_s": 21.0, "warm_s": 1.0, "same": True},
                 "detect": {"rates": rates, "share": {"page-locked": 0.8, "pageable": 0.9}}}
        rows, all_met = gpu_around.report(args, found)
        self.assertFalse(all_met)
        told = {r[0]: r[3] for r in rows}
        self.assertEqual(told["build, cold"], "missed")
        self.assertEqual(told["build, with a timing cache"], "met")
        self.assertEqual(told["page-locked uint8 images to boxes"], "missed")
        self.assertEqual(told["pageable uint8 images to boxes"], "")


class Passes(unittest.TestCase):
    """build/bin/show_passes, which docs/compilation.md quotes."""

    def test_steps_are_those_of_a_build(self):
        shown = run(BIN / "show_passes", NETWORK, "--backend", "cpu", "--precision", "fp32", "--size",
                    "320", "--steps")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        with tempfile.TemporaryDirectory() as work:
            built = run(BIN / "osprey", "build", NETWORK, "--backend", "cpu", "--size", "320", "-o",
                        pathlib.Path(work) / "n.plan", "--json")
            self.assertEqual(built.returncode, 0, built.stderr)
            told = json.loads(run(BIN / "osprey", "inspect", pathlib.Path(work) / "n.plan",
                                  "--json").stdout)
        steps = [line.split(None, 1)[0] for line in shown.stdout.splitlines()
                 if " conv n1 " in line or "->" in line and "nodes" not in line]
        self.assertEqual(len(steps), json.loads(built.stdout)["steps"])
        self.assertEqual(len(steps), told["engine"]["steps"])
        self.assertRegex(shown.stdout, r"(?m)^fuse_conv +\d+ nodes: .*FusedConv 0 -> 80")

    def test_cuda_needs_no_device(self):
        shown = run(BIN / "show_passes", NETWORK)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertRegex(shown.stdout, r"(?m)^precision +\d+ nodes: Cast 0 -> ")
        self.assertRegex(shown.stdout, r"(?m)^steps +\d+ that work: ")
        self.assertEqual(run(BIN / "show_passes").returncode, 2)
        self.assertEqual(run(BIN / "show_passes", "gone.onnx").returncode, 1)


class Runs(unittest.TestCase):
    """The scripts themselves, on a small image and the cpu backend."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.work = pathlib.Path(cls.folder.name)
        model = onnx.load(NETWORK)
        weights.strip(model)
        (cls.work / "yolo11n.onnx").write_bytes(model.SerializeToString())

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def bench(self, script, *more):
        """Runs one; its JSON and its table."""
        out = self.work / "out.json"
        result = run(sys.executable, ROOT / "bench" / script, "--device", "cpu", "--quick", "--bin", BIN,
                     "--skeletons", self.work, "--json", out, "--markdown", self.work / "out.md", *more)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn((self.work / "out.md").read_text(), result.stdout)
        return json.loads(out.read_text()), result.stdout

    def test_networks(self):
        told, text = self.bench("gpu_networks.py", "--peer", "onnx")
        row, = told["rows"]
        self.assertGreater(row["cosine"]["graph"], 0.99999)
        self.assertGreater(row["cosine"]["compile"], 0.99999)
        self.assertEqual(set(row["ms"]), {"osprey", "compile", "graph"})
        self.assertEqual(row["missing"], {"tensorrt": "it needs a GPU"})
        self.assertIn("PyTorch", told["facts"])
        self.assertIn("TensorRT is missing in 1 rows: it needs a GPU", text)

    def test_around(self):
        told, text = self.bench("gpu_around.py")
        self.assertTrue(told["build"]["same"])
        self.assertGreater(told["detect"]["share"]["pageable"], 0)
        self.assertIn("| build, cold |", text)

    def test_without_a_gpu(self):
        if gpu_help.has_gpu():
            self.skipTest("this machine has a GPU")
        for script in ("gpu_networks.py", "gpu_around.py"):
            result = run(sys.executable, ROOT / "bench" / script)
            self.assertEqual(result.returncode, 5)
            self.assertIn("no NVIDIA GPU", result.stderr)
        self.assertEqual(run(ROOT / "scripts/bench-gpu", "networks-640").returncode, 5)
        self.assertEqual(run(ROOT / "scripts/bench-gpu", "networks-320").returncode, 2)


if __name__ == "__main__":
    unittest.main()
