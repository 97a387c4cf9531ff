"""bench --profile on a GPU: the floor of every step. For a program with the GPU in host memory."""

import unittest

from harness import TINY, Case

SHAPE = ("--backend", "cuda", "--size", "32x32", "--batch", "1")
# The device's clock and bus are those of tests/gpu/host_gpu.c and fake_gpu.c.
BANDWIDTH, PEAK = 2 * 2619e6 * 5120 / 8, 132 * 4096 * 19.8e6


class Floor(Case):
    def profile(self, precision):
        words = ("bench", TINY, *SHAPE, "--precision", precision, "--seconds", "0.1", "--profile")
        result = self.json(*words)
        self.assertAlmostEqual(result["rated"]["memory_bytes_per_s"] / BANDWIDTH, 1, places=4)
        self.assertAlmostEqual(result["rated"]["fp16_flops_per_s"] / PEAK, 1, places=4)
        self.assertEqual(len(result["profile"]), result["steps"])
        return result["profile"], words

    def check(self, row, moving, computing):
        """Its floor is the longer of the two."""
        least = max(moving, computing)
        self.assertAlmostEqual(row["floor_us"] / least, 1, places=3, msg=row)
        self.assertAlmostEqual(row["floor_share"] / (least / row["us"]), 1, places=2, msg=row)

    def times(self, row):
        """Microseconds to move its bytes, and to make its products if they are of halves."""
        return (row["gbytes_per_s"] * 1e9 * row["us"] / BANDWIDTH,
                row["gflops"] * 1e9 * row["us"] / PEAK)

    def test_halves(self):
        rows, words = self.profile("fp16")
        bound = {"moving": 0, "computing": 0, "views": 0}
        for row in rows:
            if row["tactic"] == "view":
                self.assertEqual((row["floor_us"], row["floor_share"]), (0, 0))
                bound["views"] += 1
                continue
            moving, computing = self.times(row)
            if "f16" not in row["problem"]:
                computing = 0
            self.check(row, moving, computing)
            bound["computing" if computing > moving else "moving"] += 1
        self.assertTrue(all(bound.values()), bound)
        text = self.ok(*words)
        self.assertRegex(text, r"(?m)^  rated +3\.35 TB/s, 11 TFLOP/s in fp16$")
        self.assertRegex(text, r"(?m)^ *us +share +GFLOP/s +GB/s +of floor +op ")
        self.assertRegex(text, r"(?m)^ *[\d.]+ +[\d.]+ % +[\d.]+ +[\d.]+ +[\d.]+ % +\S*Conv ")
        self.assertRegex(text, r"(?m)^\d+ steps, [\d.]+ us together, their floors [\d.]+ us "
                               r"\([\d.]+ %\), \d+ by the plain kernels \(ref\)$")

    def test_floats_have_the_floor_of_their_bytes(self):
        rows, _ = self.profile("fp32")
        longer = 0
        for row in rows:
            self.assertNotIn("f16", row["problem"])
            if row["tactic"] != "view":
                moving, computing = self.times(row)
                self.check(row, moving, 0)
                longer += computing > moving
        self.assertGreater(longer, 0)

    def test_devices(self):
        gpu, cpu = self.json("devices")["devices"]
        self.assertAlmostEqual(gpu["memory_bytes_per_s"] / BANDWIDTH, 1, places=4)
        self.assertAlmostEqual(gpu["fp16_flops_per_s"] / PEAK, 1, places=4)
        self.assertEqual((cpu["memory_bytes_per_s"], cpu["fp16_flops_per_s"]), (0, 0))


if __name__ == "__main__":
    unittest.main()
