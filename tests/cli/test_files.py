"""inspect, build, run, compare: files in, files out, and what happens when they are bad."""

import os
import pathlib
import unittest

from harness import (DEVICE, DONE, FAILED, INPUT, TINY, UNSUPPORTED, USAGE, Case, npy, onnx_model,
                     onnx_node, read_npy, relu_model)

SIZE = ("--size", "32x48")


class Inspect(Case):
    def test_devices(self):
        devices = self.json("devices")["devices"]
        last = devices[-1]
        self.assertEqual(last["backend"], "cpu")
        self.assertGreaterEqual(last["multiprocessors"], 1)
        self.assertGreater(last["memory_bytes"], 1 << 28)
        self.assertIn(last["name"], self.ok("devices"))

    def test_model(self):
        info = self.json("inspect", TINY)
        self.assertEqual((info["kind"], info["opset"]), ("onnx", 13))
        self.assertEqual(info["inputs"], [{"name": "images", "dtype": "float32", "dims":
                                           ["batch", 3, "height", "width"],
                                           "determines_shapes": False}])
        operators = {o["type"]: o["count"] for o in info["operators"]}
        self.assertEqual(operators["Conv"], 6)
        self.assertTrue(all(o["known"] for o in info["operators"]))
        self.assertEqual({m["key"] for m in info["metadata"]}, {"names", "stride", "task"})
        text = self.ok("inspect", TINY)
        self.assertIn("float32 batchx3xheightxwidth", text)

    def test_unknown_operator(self):
        model = self.write("odd.onnx", onnx_model(
            [onnx_node("Frobnicate", ["x"], ["y"], "the_odd_one")], [("x", [2])], [("y", [2])]))
        operators = self.json("inspect", model)["operators"]
        self.assertEqual(operators, [{"type": "Frobnicate", "count": 1, "known": False}])
        line = self.fails(UNSUPPORTED, "run", model, "-o", "out")
        self.assertIn("the_odd_one", line)
        self.assertIn("Frobnicate", line)
        self.assertFalse((self.dir / "out").exists())

    def test_control_characters_of_a_file_do_not_reach_the_terminal(self):
        model = self.write("odd.onnx", onnx_model(
            [onnx_node("Relu", ["x\x1b[2J"], ["y"], "n")], [("x\x1b[2J", [2])], [("y", [2])]))
        result = self.run_osprey("inspect", model)
        self.assertNotIn("\x1b", result.stdout + result.stderr)
        result = self.run_osprey("inspect", model, "--json")
        self.assertNotIn("\x1b", result.stdout + result.stderr)

    def test_plan(self):
        built = self.json("build", TINY, "-o", "tiny.plan", "--batch", "1,2", *SIZE)
        self.assertEqual(built["file"], "tiny.plan")
        self.assertEqual(built["bytes"], (self.dir / "tiny.plan").stat().st_size)
        self.assertEqual((built["height"], built["width"]), (32, 48))
        info = self.json("inspect", "tiny.plan")
        self.assertEqual((info["kind"], info["variants"], info["error"]), ("plan", 2, None))
        self.assertEqual(info["device_key"], built["device_key"])
        self.assertEqual(len(info["steps_of_variants"]), 2)
        steps = info["steps_of_variants"][0]
        self.assertTrue(any(s["flops"] > 0 for s in steps))
        self.assertTrue(all(s["tactic"] and s["problem"] for s in steps))
        self.assertIn(steps[0]["problem"], self.ok("inspect", "tiny.plan"))

    def test_pixels(self):
        self.assertEqual(self.json("build", TINY, "-o", "tiny.plan", *SIZE)["image_input"], "model")
        built = self.json("build", TINY, "-o", "pixels.plan", "--image-input", "uint8", *SIZE)
        self.assertEqual(built["image_input"], "uint8")
        info = self.json("inspect", "pixels.plan")
        self.assertEqual(info["engine"]["image_input"], "uint8")
        self.assertIn("32x48 pixels (uint8)", self.ok("inspect", "pixels.plan"))
        self.assertNotIn("pixels", self.ok("inspect", "tiny.plan"))
        line = self.fails(USAGE, "run", "pixels.plan", "-o", "out", "--image-input", "model")
        self.assertIn("--image-input", line)

    def test_plan_that_does_not_open_here(self):
        self.ok("build", TINY, "-o", "tiny.plan", *SIZE)
        plan = bytearray((self.dir / "tiny.plan").read_bytes())
        plan[-1] ^= 1
        self.write("damaged.plan", bytes(plan))
        info = self.json("inspect", "damaged.plan")
        self.assertEqual(info["kind"], "plan")
        self.assertTrue(info["error"])
        self.assertIn(info["error"].split(":")[0], self.ok("inspect", "damaged.plan"))
        self.assertIn("damaged.plan", self.fails(INPUT, "run", "damaged.plan", "-o", "out"))


class Bad(Case):
    def test_bad_files(self):
        self.ok("build", TINY, "-o", "tiny.plan", *SIZE)
        plan = (self.dir / "tiny.plan").read_bytes()
        tiny = pathlib.Path(TINY).read_bytes()
        (self.dir / "folder").mkdir()
        os.mkfifo(self.dir / "pipe")
        bad = {"missing": None, "folder": None, "empty": b"", "text": "not a model\n",
               "noise": bytes(range(256)) * 8, "cut.onnx": tiny[:len(tiny) // 2],
               "cut.plan": plan[:len(plan) // 2], "short.plan": plan[:12],
               "engine": b"ftrt" + bytes(64), "noise.plan": b"OSPPLAN\n" + bytes(range(256))}
        for name, data in bad.items():
            if data is not None:
                self.write(name, data)
            for verb in (["inspect"], ["run", "-o", "out"], ["bench", "--seconds", "0.1"],
                         ["compare", "--against", TINY], ["detect", name]):
                if verb[0] == "inspect" and name == "cut.plan":
                    continue  # its header is whole
                verb = [verb[0], name, *verb[1:]] if verb[0] != "detect" else ["detect", name, TINY]
                result = self.run_osprey(*verb)
                self.assertIn(result.returncode, (INPUT,) if name != "engine" else
                              (INPUT, UNSUPPORTED, DEVICE), (verb, result.stderr))
                self.assertRegex(result.stderr, r"\Aosprey: [^\n]+\n\Z", verb)
                self.assertIn(name, result.stderr, verb)
                self.assertEqual(result.stdout, "", verb)

    def test_device_that_is_not_there(self):
        if any(d["cc_major"] for d in self.json("devices")["devices"]):
            self.skipTest("a GPU is there")
        line = self.fails(DEVICE, "run", TINY, "-o", "out", "--backend", "cuda", *SIZE)
        self.assertIn("cuda", line)

    def test_plan_with_build_options(self):
        self.ok("build", TINY, "-o", "tiny.plan", *SIZE)
        line = self.fails(USAGE, "run", "tiny.plan", "-o", "out", "--batch", "2")
        self.assertIn("--batch", line)
        self.fails(USAGE, "build", "tiny.plan")
        # A variable is a default, not an order.
        self.ok("run", "tiny.plan", "-o", "out", env={"OSPREY_BACKEND": "reference"})

    def test_output_that_cannot_be_written(self):
        self.write("file", "x")
        self.fails(FAILED, "run", TINY, "-o", "file", *SIZE)
        self.fails(FAILED, "run", TINY, "-o", "file/under", *SIZE)
        self.fails(FAILED, "build", TINY, "-o", "nowhere/tiny.plan", *SIZE)


class Build(Case):
    def test_name_by_device(self):
        for words, start in ((["build", TINY], "tiny.cpu_"),
                             (["build", TINY, "--name", "azaion"], "azaion.cpu_")):
            built = self.json(*words, *SIZE)
            self.assertTrue(built["file"].startswith(start) and built["file"].endswith(".engine"))
            self.assertTrue((self.dir / built["file"]).is_file())
        (self.dir / "plans").mkdir()
        built = self.json("build", TINY, "-o", "plans", *SIZE)
        self.assertTrue(built["file"].startswith("plans/tiny.cpu_"))
        self.assertIn("built in", self.ok("build", TINY, *SIZE))

    def test_difference_from_fp32(self):
        self.assertEqual(self.json("build", TINY, *SIZE)["fp32_differences"], [])
        flags = pathlib.Path("/proc/cpuinfo").read_text().split()
        if not {"avx512_bf16", "amx_bf16"} & set(flags):
            self.skipTest("this processor has no bf16 instructions")
        bf16 = ["build", TINY, *SIZE, "--precision", "bf16"]
        told = self.json(*bf16)["fp32_differences"]
        self.assertEqual([d["output"] for d in told], ["output0"])
        self.assertTrue(0 < told[0]["of_range"] < 0.05)
        self.assertIn("'output0' differs most from fp32", self.ok(*bf16))
        result = self.run_osprey(*bf16, "--tolerance", "1e-6")
        self.assertEqual(result.returncode, FAILED)
        self.assertIn("over the tolerance of 1e-06: keep nodes in fp32 (--keep-fp32)",
                      result.stderr)

    def test_content_counts_and_not_the_name(self):
        self.ok("build", TINY, "-o", "misnamed.onnx", *SIZE)
        self.assertEqual(self.json("inspect", "misnamed.onnx")["kind"], "plan")
        self.write("misnamed.plan", pathlib.Path(TINY).read_bytes())
        self.assertEqual(self.json("inspect", "misnamed.plan")["kind"], "onnx")


class Run(Case):
    def test_names_of_outputs(self):
        model = self.write("relu.onnx", relu_model())
        x = self.write("x.npy", npy([2, 3], [-1, 2, -3, 4, -5, 6]))
        result = self.json("run", model, "-o", "out", "--input", f"x={x}")
        self.assertEqual([o["file"] for o in result["outputs"]], ["out/a_b.npy", "out/a_b_2.npy"])
        self.assertEqual(read_npy(self.dir / "out/a_b.npy"), ((2, 3), [0, 2, 0, 4, 0, 6]))
        self.assertAlmostEqual(read_npy(self.dir / "out/a_b_2.npy")[1][1], 0.880797, places=5)
        self.assertEqual((result["outputs"][0]["min"], result["outputs"][0]["max"]), (0, 6))

    def test_pattern_is_seeded(self):
        def outputs(folder, *words):
            self.ok("run", TINY, "-o", folder, *SIZE, *words)
            return read_npy(self.dir / folder / "output0.npy")
        first = outputs("a")
        self.assertEqual(first, outputs("b"))
        self.assertNotEqual(first, outputs("c", "--seed", "1"))
        self.assertEqual(first[0][:2], (1, 6))

    def test_plan_gives_what_the_model_gives(self):
        self.ok("build", TINY, "-o", "tiny.plan", *SIZE)
        self.ok("run", "tiny.plan", "-o", "a")
        self.ok("run", TINY, "-o", "b", *SIZE)
        self.ok("run", TINY, "-o", "c", "--no-cache", *SIZE)
        expected = read_npy(self.dir / "a/output0.npy")
        self.assertEqual(expected, read_npy(self.dir / "b/output0.npy"))
        self.assertEqual(expected, read_npy(self.dir / "c/output0.npy"))

    def test_input_that_determines_shapes(self):
        model = self.write("reshape.onnx", onnx_model(
            [onnx_node("Reshape", ["x", "shape"], ["y"])],
            [("x", [2, 6]), ("shape", [2], 7)], [("y", ["a", "b"])]))
        shape = self.write("shape.npy", npy([2], [4, 3], "q", "<i8"))
        self.ok("run", model, "-o", "out", "--input", f"shape={shape}")
        self.assertEqual(read_npy(self.dir / "out/y.npy")[0], (4, 3))
        self.assertIn("shape", self.run_osprey("run", model, "-o", "out").stderr)
        self.ok("run", model, "-o", "two", "--fixed-input", f"shape={shape}")
        self.assertEqual(read_npy(self.dir / "two/y.npy")[0], (4, 3))

    def test_bad_inputs(self):
        good = self.write("x.npy", npy([1, 3, 32, 48], [0.5] * (3 * 32 * 48)))
        small = self.write("small.npy", npy([3], [1, 2, 3]))
        noise = self.write("noise.npy", b"\x93NUMPY\x01\x00\xff\xff{")
        self.ok("run", TINY, "-o", "out", *SIZE, "--input", f"images={good}")
        self.assertIn("images", self.fails(USAGE, "run", TINY, "-o", "out", *SIZE, "--input",
                                           f"pictures={good}"))
        self.fails(USAGE, "run", TINY, "-o", "out", *SIZE, "--input", f"images={small}")
        self.assertIn("noise.npy", self.fails(INPUT, "run", TINY, "-o", "out", *SIZE, "--input",
                                              f"images={noise}"))
        self.assertIn("gone.npy", self.fails(INPUT, "run", TINY, "-o", "out", *SIZE, "--input",
                                             "images=gone.npy"))


class Compare(Case):
    def test_against_reference(self):
        result = self.json("compare", TINY, *SIZE, "--tolerance", "1e-4")
        self.assertEqual(result["against_backend"], "reference")
        self.assertTrue(result["within_tolerance"])
        self.assertEqual([o["name"] for o in result["outputs"]], ["output0"])
        self.assertGreater(result["outputs"][0]["cosine"], 0.99999)
        self.assertIn("cosine", self.ok("compare", TINY, *SIZE))

    def test_pixels(self):
        result = self.json("compare", TINY, *SIZE, "--image-input", "uint8", "--tolerance", "1e-4")
        self.assertTrue(result["within_tolerance"])
        # Whatever a plan takes, its model is given.
        self.ok("build", TINY, "-o", "pixels.plan", "--image-input", "uint8", "--size", "1280")
        result = self.json("compare", "pixels.plan", "--against", TINY)
        self.assertLess(result["outputs"][0]["relative"], 1e-4)

    def test_over_the_tolerance(self):
        plain = self.write("a.onnx", onnx_model([onnx_node("Relu", ["x"], ["y"])],
                                                [("x", [8])], [("y", [8])]))
        other = self.write("b.onnx", onnx_model([onnx_node("Sigmoid", ["x"], ["z"])],
                                                [("x", [8])], [("z", [8])]))
        result = self.run_osprey("compare", plain, "--against", other, "--tolerance", "0.001")
        self.assertEqual(result.returncode, FAILED)
        self.assertIn("--tolerance", result.stderr)
        self.assertEqual(self.run_osprey("compare", plain, "--against", other).returncode, DONE)
        # A model of another form.
        self.fails(FAILED, "compare", plain, "--against",
                   self.write("c.onnx", onnx_model([onnx_node("Flatten", ["x"], ["y"])],
                                                   [("x", [8])], [("y", [8, 1])])))

    def test_plan_against_its_model(self):
        self.ok("build", TINY, "-o", "tiny.plan", *SIZE)
        self.fails(USAGE, "compare", "tiny.plan")
        self.fails(INPUT, "compare", "tiny.plan", "--against", "gone.onnx")


if __name__ == "__main__":
    unittest.main()
