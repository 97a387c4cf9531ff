"""detect, with the model and the pictures of the repository."""

import csv
import io
import json
import shutil
import struct
import unittest

from harness import AERIAL, FAILED, INPUT, SAMPLES, TINY, USAGE, DONE, Case

SIZE = ("--size", "640x640")
PICTURES = sorted(SAMPLES.glob("*.jpg"))[:2]


def picture_size(path):
    """(width, height) of a JPEG, from its frame header."""
    data, at = path.read_bytes(), 2
    while data[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
    height, width = struct.unpack(">HH", data[at + 5:at + 9])
    return width, height


class Detect(Case):
    def setUp(self):
        super().setUp()
        # One engine for all of these tests: building it each time would be what they measure.
        self.env["OSPREY_CACHE_DIR"] = str(type(self).cache)

    @classmethod
    def setUpClass(cls):
        import pathlib
        import tempfile
        cls.cache = pathlib.Path(tempfile.mkdtemp(prefix="osprey-cli-cache-"))
        cls.addClassCleanup(shutil.rmtree, cls.cache)

    def detect(self, *words):
        return self.json("detect", AERIAL, *words, *SIZE)

    def test_json(self):
        result = self.detect(*PICTURES)
        self.assertEqual([i["image"] for i in result["images"]], [str(p) for p in PICTURES])
        for path, image in zip(PICTURES, result["images"]):
            self.assertEqual((image["width"], image["height"]), picture_size(path))
            self.assertTrue(image["detections"])
            scores = [d["score"] for d in image["detections"]]
            self.assertEqual(scores, sorted(scores, reverse=True))
            self.assertGreaterEqual(scores[-1], 0.25)
            for d in image["detections"]:
                self.assertLessEqual(0, d["x1"])
                self.assertLess(d["x1"], d["x2"])
                self.assertLessEqual(d["x2"], image["width"])
                self.assertLess(d["y1"], d["y2"])
                self.assertLessEqual(d["y2"], image["height"])
                self.assertIn(d["class"], ("car", "truck", "boat", "plane"))

    def test_pixels(self):
        floats, pixels = self.detect(*PICTURES), self.detect(*PICTURES, "--image-input", "uint8")
        for a, b in zip(floats["images"], pixels["images"]):
            self.assertEqual(len(a["detections"]), len(b["detections"]))
            for d, e in zip(a["detections"], b["detections"]):
                self.assertEqual(d["class_id"], e["class_id"])
                self.assertAlmostEqual(d["score"], e["score"], delta=1e-4)
                for side in ("x1", "y1", "x2", "y2"):
                    self.assertAlmostEqual(d[side], e[side], delta=0.02)

    def test_boxes_are_where_the_objects_are(self):
        truth = json.loads((SAMPLES / "ground_truth.json").read_text())
        by_id = {i["id"]: i["file_name"] for i in truth["images"]}
        objects = {}
        for a in truth["annotations"]:
            objects.setdefault(by_id[a["image_id"]], []).append(a["bbox"])
        found = total = 0
        for image in self.detect(SAMPLES)["images"]:
            boxes = [(d["x1"], d["y1"], d["x2"], d["y2"]) for d in image["detections"]]
            for x, y, w, h in objects.get(image["image"].split("/")[-1], []):
                total += 1
                found += any(iou((x, y, x + w, y + h), b) > 0.5 for b in boxes)
        self.assertGreater(total, 20)
        self.assertGreater(found / total, 0.7)

    def test_formats_agree(self):
        boxes = [(str(p), d) for p, i in zip(PICTURES, self.detect(*PICTURES)["images"])
                 for d in i["detections"]]
        rows = list(csv.DictReader(io.StringIO(
            self.ok("detect", AERIAL, *PICTURES, *SIZE, "--format", "csv"))))
        self.assertEqual(len(rows), len(boxes))
        for row, (image, d) in zip(rows, boxes):
            self.assertEqual((row["image"], row["class"], int(row["class_id"])),
                             (image, d["class"], d["class_id"]))
            self.assertAlmostEqual(float(row["x1"]), d["x1"], delta=0.006)
        coco = json.loads(self.ok("detect", AERIAL, *PICTURES, *SIZE, "--format", "coco"))
        self.assertEqual(len(coco), len(boxes))
        for entry, (image, d) in zip(coco, boxes):
            self.assertEqual(entry["category_id"], d["class_id"])
            self.assertAlmostEqual(entry["bbox"][2], d["x2"] - d["x1"], delta=0.01)
            self.assertTrue(image.endswith(entry["file_name"]))
        text = self.ok("detect", AERIAL, *PICTURES, *SIZE, "--format", "txt").splitlines()
        lines = [line.split() for line in text if not line.startswith("#")]
        self.assertEqual(len(lines), len(boxes))
        width = picture_size(PICTURES[0])[0]
        self.assertAlmostEqual(float(lines[0][3]) * width, boxes[0][1]["x2"] - boxes[0][1]["x1"],
                               delta=0.01)

    def test_table(self):
        text = self.ok("detect", AERIAL, PICTURES[0], *SIZE)
        self.assertRegex(text, r"(?m)^  class +score +x1 +y1 +x2 +y2$")
        self.assertRegex(text, r"(?m)^1 image, \d+ objects? \(")

    def test_folder_of_results(self):
        text = self.ok("detect", AERIAL, *PICTURES, *SIZE, "-o", "out")
        self.assertIn("pictures: out/", text)
        out = self.dir / "out"
        self.assertEqual({p.name for p in out.iterdir()},
                         {p.name for p in PICTURES} | {"detections.json"})
        self.assertEqual(len(json.loads((out / "detections.json").read_text())["images"]), 2)
        for p in PICTURES:
            self.assertEqual(picture_size(out / p.name), picture_size(p))
            self.assertNotEqual((out / p.name).read_bytes(), p.read_bytes())
        self.ok("detect", AERIAL, *PICTURES, *SIZE, "-o", "bare", "--no-draw", "--format", "txt")
        self.assertEqual({p.name for p in (self.dir / "bare").rglob("*") if p.is_file()},
                         {p.stem + ".txt" for p in PICTURES})

    def test_pictures_of_one_name_do_not_cover_each_other(self):
        for folder in ("a", "b"):
            (self.dir / folder).mkdir()
            shutil.copy(PICTURES[0], self.dir / folder / "same.jpg")
        self.ok("detect", AERIAL, "a", "b", *SIZE, "-o", "out")
        self.assertEqual({p.name for p in (self.dir / "out").glob("*.jpg")},
                         {"same.jpg", "same_2.jpg"})

    def test_sources(self):
        for name in ("x1.jpg", "x2.jpg"):
            shutil.copy(PICTURES[0], self.dir / name)
        self.assertEqual([i["image"] for i in self.detect("x*.jpg")["images"]],
                         ["x1.jpg", "x2.jpg"])
        (self.dir / "none").mkdir()
        self.assertIn("none", self.fails(INPUT, "detect", AERIAL, "none", *SIZE))
        self.assertIn("y*.jpg", self.fails(INPUT, "detect", AERIAL, "y*.jpg", *SIZE))
        self.assertIn("gone.jpg", self.fails(INPUT, "detect", AERIAL, "gone.jpg", *SIZE))

    def test_an_image_that_cannot_be_read_does_not_stop_the_others(self):
        self.write("in/a.jpg", b"\xff\xd8\xff not a picture")
        self.write("in/b.bmp", b"BM" + bytes(60))
        shutil.copy(PICTURES[0], self.dir / "in/c.jpg")
        result = self.run_osprey("detect", AERIAL, "in", *SIZE, "--json", "--batch", "2")
        self.assertIn(result.returncode, (INPUT, 4))
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 2, lines)
        self.assertIn("in/a.jpg", lines[0])
        self.assertIn("in/b.bmp", lines[1])
        images = json.loads(result.stdout)["images"]
        self.assertEqual(["error" in i for i in images], [True, True, False])
        self.assertTrue(images[2]["detections"])

    def test_filters(self):
        everything = self.detect(PICTURES[0])["images"][0]["detections"]
        kind = everything[0]["class"]
        only = self.detect(PICTURES[0], "--classes", kind)["images"][0]["detections"]
        self.assertEqual(only, [d for d in everything if d["class"] == kind])
        number = self.detect(PICTURES[0], "--classes", everything[0]["class_id"])
        self.assertEqual(number["images"][0]["detections"], only)
        line = self.fails(USAGE, "detect", AERIAL, PICTURES[0], *SIZE, "--classes", "zebra")
        self.assertIn("car", line)
        strict = self.detect(PICTURES[0], "--conf", "0.6")["images"][0]["detections"]
        self.assertEqual(strict, [d for d in everything if d["score"] >= 0.6])
        all_rows = self.detect(PICTURES[0], "--conf", "0")["images"][0]["detections"]
        self.assertGreater(len(all_rows), len(everything))
        two = self.detect(PICTURES[0], "--max-det", "2")["images"][0]["detections"]
        self.assertEqual(two, everything[:2])

    def test_names_from_a_file(self):
        names = self.write("names.txt", "auto\nlorry\nship\nplane\n")
        result = self.detect(PICTURES[0], "--names", names)["images"][0]["detections"]
        self.assertTrue({d["class"] for d in result} <= {"auto", "lorry", "ship", "plane"})
        self.fails(INPUT, "detect", AERIAL, PICTURES[0], *SIZE, "--names", "gone.txt")

    def test_batches_give_the_same_boxes(self):
        one = self.detect(SAMPLES)["images"]
        four = self.detect(SAMPLES, "--batch", "1,4")["images"]
        self.assertEqual([len(i["detections"]) for i in one], [len(i["detections"]) for i in four])

    def test_output_folder_that_cannot_be_made(self):
        self.write("file", "x")
        self.fails(FAILED, "detect", AERIAL, PICTURES[0], *SIZE, "-o", "file/out")

    def test_other_heads(self):
        self.assertEqual(self.run_osprey("detect", TINY, PICTURES[0], "--size", "64", "--conf",
                                         "0.9").returncode, DONE)
        self.fails(USAGE, "detect", AERIAL, PICTURES[0], *SIZE, "--head", "none")


def iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0
    area = lambda r: (r[2] - r[0]) * (r[3] - r[1])  # noqa: E731
    return w * h / (area(a) + area(b) - w * h)


if __name__ == "__main__":
    unittest.main()
