"""bench, and the engine cache that it shares with the others."""

import unittest

from harness import AERIAL, INPUT, SAMPLES, TINY, Case

QUICK = ("--size", "64x64", "--seconds", "0.1")


class Bench(Case):
    def test_times(self):
        result = self.json("bench", TINY, *QUICK)
        engine = result["engine"]
        self.assertGreaterEqual(engine["runs"], 3)
        self.assertLessEqual(engine["p50_ms"], engine["p90_ms"])
        self.assertLessEqual(engine["p90_ms"], engine["p99_ms"])
        self.assertGreater(engine["images_per_s"], 0)
        self.assertEqual((result["sessions"], result["batch"]), (1, 1))
        self.assertNotIn("end_to_end", result)
        self.assertGreater(result["peak_rss_bytes"], 1 << 20)
        self.assertRegex(self.ok("bench", TINY, *QUICK), r"(?m)^engine only +[\d.]+")

    def test_sessions_and_batches(self):
        result = self.json("bench", TINY, *QUICK, "--sessions", "3", "--batch", "2")
        self.assertEqual((result["sessions"], result["batch"]), (3, 2))
        self.assertGreaterEqual(result["engine"]["runs"], 9)

    def test_profile(self):
        result = self.json("bench", TINY, *QUICK, "--profile")
        rows = result["profile"]
        self.assertEqual(len(rows), result["steps"])
        self.assertAlmostEqual(sum(r["share"] for r in rows), 1, places=2)
        self.assertEqual([r["us"] for r in rows], sorted((r["us"] for r in rows), reverse=True))
        self.assertEqual(sum(r["tactic"] == "ref" for r in rows), result["steps_ref"])
        text = self.ok("bench", TINY, *QUICK, "--profile")
        self.assertIn("by the plain kernels (ref)", text)
        # The CPU has no rated figures, and so no floors.
        self.assertNotIn("of floor", text)
        self.assertNotIn("their floors", text)
        self.assertNotIn("rated", text)
        self.assertNotIn("rated", result)
        self.assertNotIn("floor_us", rows[0])

    def test_end_to_end(self):
        result = self.json("bench", AERIAL, "--size", "320", "--seconds", "0.2", "--images", SAMPLES)
        whole = result["end_to_end"]
        self.assertGreaterEqual(whole["runs"], 3)
        self.assertLess(whole["pre_ms"] + whole["infer_ms"] + whole["post_ms"],
                        whole["mean_ms"] * 1.2 + 1)
        self.fails(INPUT, "bench", TINY, *QUICK, "--images", "gone")


class Cache(Case):
    def test_engine_is_kept(self):
        first = self.json("bench", TINY, *QUICK)
        second = self.json("bench", TINY, *QUICK)
        self.assertEqual((first["from_cache"], second["from_cache"]), (False, True))
        # Another option, another engine; none is kept without the cache.
        self.assertFalse(self.json("bench", TINY, "--size", "32", "--seconds", "0.1")["from_cache"])
        self.assertFalse(self.json("bench", TINY, *QUICK, "--no-cache")["from_cache"])

    def test_damaged_engine_is_built_again(self):
        self.json("bench", TINY, *QUICK)
        kept = [p for p in (self.dir / "cache").rglob("*") if p.is_file() and p.stat().st_size > 99]
        self.assertEqual(len(kept), 1)
        kept[0].write_bytes(kept[0].read_bytes()[:-9] + b"123456789")
        result = self.run_osprey("bench", TINY, *QUICK, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn('"from_cache": false', result.stdout)
        self.assertIn("warning", result.stderr)
        self.assertTrue(self.json("bench", TINY, *QUICK)["from_cache"])

    def test_cache_without_a_home(self):
        env = {"OSPREY_CACHE_DIR": "", "HOME": "", "XDG_CACHE_HOME": ""}
        self.assertFalse(self.json("bench", TINY, *QUICK, env=env)["from_cache"])
        env["XDG_CACHE_HOME"] = str(self.dir / "xdg")
        self.json("bench", TINY, *QUICK, env=env)
        self.assertTrue((self.dir / "xdg/osprey").is_dir())


if __name__ == "__main__":
    unittest.main()
