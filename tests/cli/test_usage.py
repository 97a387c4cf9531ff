"""Help, version, options, environment: everything that ends before a file is opened."""

import re
import unittest

from harness import ROOT, TINY, USAGE, FAILED, PROGRAM, Case

VERBS = ("devices", "inspect", "build", "run", "detect", "compare", "bench")


class Usage(Case):
    def options_of(self, verb):
        return set(re.findall(r"--[a-z0-9][a-z0-9-]*", self.ok(verb, "--help")))

    def test_help_lists_every_verb(self):
        text = self.ok("--help")
        for verb in VERBS:
            self.assertRegex(text, rf"(?m)^  {verb} ")
        self.assertEqual(text, self.ok("help"))
        self.assertEqual(text, self.ok("-h"))

    def test_help_of_verbs(self):
        for verb in VERBS:
            text = self.ok(verb, "--help")
            self.assertTrue(text.startswith(f"usage: osprey {verb}"))
            self.assertEqual(text, self.ok("help", verb))
            self.assertLessEqual({"--json", "--help", "--quiet"}, self.options_of(verb))

    def test_options_that_the_design_promises(self):
        build = {"--backend", "--device", "--batch", "--size", "--precision", "--cache", "--threads",
                 "--workspace", "--builder-level", "--keep-fp32", "--tolerance", "--head", "--resize",
                 "--fixed-input", "--trust", "--image-input"}
        for verb in ("build", "run", "detect", "compare", "bench"):
            self.assertLessEqual(build, self.options_of(verb), verb)
        self.assertLessEqual({"--output", "--name"}, self.options_of("build"))
        self.assertLessEqual({"--input", "--output-dir"}, self.options_of("run"))
        self.assertLessEqual({"--output", "--conf", "--iou", "--classes", "--format", "--no-draw"},
                             self.options_of("detect"))
        self.assertLessEqual({"--against", "--input"}, self.options_of("compare"))
        self.assertLessEqual({"--sessions", "--seconds", "--images", "--profile"},
                             self.options_of("bench"))

    def test_manual_has_every_option_and_variable(self):
        manual = (ROOT / "docs/osprey.1").read_text().replace("\\-", "-")
        words = {w for v in VERBS for w in re.findall(r"--[a-z][a-z0-9-]*|OSPREY_\w+",
                                                      self.ok(v, "--help"))}
        self.assertGreater(len(words), 40)
        self.assertEqual({w for w in words if not re.search(re.escape(w) + r"(?![\w-])", manual)},
                         set())

    def test_completion_has_every_verb(self):
        text = (ROOT / "completions/osprey.bash").read_text()
        for verb in VERBS:
            self.assertIn(verb, text)

    def test_version(self):
        self.assertRegex(self.ok("--version"),
                         r"\Aosprey (\d+\.\d+\.\d+) \(library \1\)\n\Z")

    def test_mistakes(self):
        for words, about in (
                ([], "which verb"),
                (["frobnicate"], "frobnicate"),
                (["--frobnicate"], "--frobnicate"),
                (["help", "frobnicate"], "frobnicate"),
                (["detect"], "missing operand"),
                (["detect", TINY], "missing operand"),
                (["devices", "x"], "unexpected operand 'x'"),
                (["inspect", TINY, "y"], "unexpected operand 'y'"),
                (["detect", TINY, "y", "--frob"], "'--frob'"),
                (["detect", TINY, "y", "-qz"], "'-z'"),
                (["detect", TINY, "y", "--conf"], "'--conf' needs a value"),
                (["detect", TINY, "y", "--conf", "1.5"], "from 0 to 1"),
                (["detect", TINY, "y", "--conf", "nan"], "from 0 to 1"),
                (["detect", TINY, "y", "--format", "xml"], "json|csv|coco|txt"),
                (["detect", TINY, "y", "--max-det", "0"], "from 1 to"),
                (["detect", TINY, "y", "--classes", "a,,b"], "LIST"),
                (["run", TINY], "--output-dir is missing"),
                (["run", TINY, "-o", "d", "--input", "=x"], "NAME=FILE"),
                (["run", TINY, "-o", "d", "--size", "640x"], "HEIGHTxWIDTH"),
                (["run", TINY, "-o", "d", "--size", "0x640"], "HEIGHTxWIDTH"),
                (["run", TINY, "-o", "d", "--batch", "1,2,3,4,5,6,7,8,9"], "batch sizes"),
                (["run", TINY, "-o", "d", "--batch", "0"], "batch sizes"),
                (["run", TINY, "-o", "d", "--workspace", "2Q"], "512M"),
                (["run", TINY, "-o", "d", "--workspace", "-1"], "512M"),
                (["run", TINY, "-o", "d", "--backend", "gpu"], "reference|cpu"),
                (["run", TINY, "-o", "d", "--precision", "fp8"], "fp32|fp16"),
                (["detect", TINY, "y", "--image-input", "rgb"], "model|auto|uint8"),
                (["run", TINY, "-o", "d", "--threads", "99999999999999999999"], "whole number"),
                (["run", TINY, "-o", "d", "--builder-level", "9"], "from 1 to 5"),
                (["bench", TINY, "--seconds", "0"], "number from"),
                (["build", TINY, "--seconds", "1"], "unknown option '--seconds'")):
            line = self.fails(USAGE, *words)
            self.assertIn(about, line, words)

    def test_environment(self):
        line = self.fails(USAGE, "devices", env={"OSPREY_THREADS": "many"})
        self.assertIn("OSPREY_THREADS is 'many'", line)
        self.fails(USAGE, "inspect", TINY, env={"OSPREY_LOG": "loud"})
        # A verb without the option does not mind; an empty one counts as not set.
        self.ok("devices", env={"OSPREY_PRECISION": "fp8"})
        self.ok("devices", env={"OSPREY_THREADS": ""})
        # The line comes before the environment.
        plan = self.json("build", TINY, "-o", "p", "--size", "32", "--backend", "reference",
                         env={"OSPREY_BACKEND": "cpu"})
        self.assertEqual(plan["backend"], "reference")
        plan = self.json("build", TINY, "-o", "p", "--size", "32",
                         env={"OSPREY_BACKEND": "reference"})
        self.assertEqual(plan["backend"], "reference")

    def test_tensorrt_is_found_among_python_packages(self):
        folder = self.dir / "env/lib/python3.12/site-packages/tensorrt_libs"
        folder.mkdir(parents=True)
        result = self.run_osprey("devices", "--log", "debug",
                                 env={"VIRTUAL_ENV": str(self.dir / "env")})
        self.assertIn(f"TensorRT is looked for in {folder}", result.stderr)
        result = self.run_osprey("devices", "--log", "debug", "--library-dir", "/named",
                                 env={"VIRTUAL_ENV": str(self.dir / "env")})
        self.assertIn("TensorRT is looked for in /named", result.stderr)
        self.assertNotIn("tensorrt_libs", result.stderr)

    def test_choice_of_backend_warns_once_for_each_passed_over(self):
        words = ("run", TINY, "-o", "out", "--size", "32", "--backend", "auto")
        lines = self.run_osprey(*words).stderr.splitlines()
        self.assertEqual(len(lines), len(set(lines)))
        if any("cuda" in line for line in lines):
            self.assertRegex(lines[0], r"^osprey: warning: backend cuda is passed over: ")
        self.assertEqual(self.run_osprey(*words, "--quiet").stderr, "")
        self.assertEqual(self.run_osprey(*words, "--log", "error").stderr, "")

    def test_standard_output_that_is_full(self):
        import subprocess
        with open("/dev/full", "w") as full:
            result = subprocess.run([PROGRAM, "--help"], stdout=full, stderr=subprocess.PIPE,
                                    text=True, env=self.env)
        self.assertEqual(result.returncode, FAILED)
        self.assertIn("standard output", result.stderr)


if __name__ == "__main__":
    unittest.main()
