"""detect with a small model for every kind of head, against boxes worked out from the heads'
definitions (tests/vision/make_heads.py)."""

import json
import struct
import unittest
import zlib

from harness import ROOT, USAGE, UNSUPPORTED, Case

HEADS = ROOT / "tests/data/heads"
EXPECTED = json.loads((HEADS / "expected.json").read_text())


def png(width, height):
    """A grey picture of a size: these models do not look at it."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data +
                struct.pack(">I", zlib.crc32(kind + data)))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(bytes((width + 1) * height))) + chunk(b"IEND", b""))


class Heads(Case):
    def test_boxes(self):
        self.assertEqual(len(EXPECTED["cases"]), 30)
        for case in EXPECTED["cases"]:
            picture = self.write("picture.png", png(case["width"], case["height"]))
            for words in ((), ("--head", case["head"])):
                with self.subTest(model=case["model"], size=(case["width"], case["height"]),
                                  words=words):
                    self.compare(self.json("detect", HEADS / case["model"], picture, *words), case)

    def compare(self, document, case):
        image, = document["images"]
        self.assertEqual((image["width"], image["height"]), (case["width"], case["height"]))
        self.assertEqual(len(image["detections"]), len(case["boxes"]))
        for got, want in zip(image["detections"], case["boxes"]):
            self.assertEqual(got["class_id"], want["class"])
            self.assertEqual(got["class"], want["name"] or f"class {want['class']}")
            self.assertAlmostEqual(got["score"], want["score"], delta=1e-4)
            for key, value in zip(("x1", "y1", "x2", "y2"), want["box"]):
                self.assertAlmostEqual(got[key], value, delta=1e-2)

    def test_refused(self):
        picture = self.write("picture.png", png(64, 64))
        for case in EXPECTED["refused"]:
            result = self.run_osprey("detect", HEADS / case["model"], picture)
            self.assertIn(result.returncode, (USAGE, UNSUPPORTED), case)
            self.assertEqual(result.stdout, "")
            self.assertRegex(result.stderr, r"\Aosprey: [^\n]+\n\Z")
            self.assertIn(case["word"], result.stderr)


if __name__ == "__main__":
    unittest.main()
