"""What compare.py leaves out of RT-DETR's outputs, and what not: two sides, made up by hand."""

import unittest

import numpy as np

import compare

PLACES, QUERIES, CLASSES = 900, 300, 2


def side(swap=False, seed=0):
    """Outputs of a side whose queries are the best places; `swap`: its last two change their order."""
    scores = np.linspace(1, 0, PLACES, dtype=np.float32)[None].copy()
    if swap:
        scores[0, [QUERIES - 1, QUERIES]] = scores[0, [QUERIES, QUERIES - 1]]
    queries = np.argsort(-scores, kind="stable")[:, :QUERIES]
    rng = np.random.default_rng(seed)
    # By place, so that both sides say the same of a place.
    boxes = rng.random((PLACES, 4), np.float32)[queries]
    logits = rng.random((PLACES, CLASSES), np.float32)[queries]
    ends = np.concatenate([boxes, logits[..., :1], np.zeros_like(boxes[..., :1])], axis=2)
    return {"part_queries": queries, "part_query_scores": scores, "part_boxes": boxes,
            "part_logits": logits, "output0": ends}


def told(ours, theirs, precision):
    """(whether the queries are fine, rows without a partner)."""
    _, fine, _ = compare.compare_queries(ours, theirs, ["output0"], precision)
    return fine, compare.unmatched_rows(ours["output0"][0], theirs["output0"][0], (640, 640),
                                        (1e-3, 0.01))


class Queries(unittest.TestCase):
    def test_the_same(self):
        self.assertEqual(told(side(), side(), "fp16"), (True, 0))

    def test_rows_of_a_swapped_query_have_no_partner(self):
        self.assertEqual(told(side(swap=True), side(), "fp16"), (True, 0))
        self.assertEqual(told(side(swap=True), side(), "fp32"), (True, 2))

    def test_rows_of_others_need_theirs(self):
        ours = side(swap=True)
        ours["output0"][0, 7, :2] += 0.1
        self.assertEqual(told(ours, side(), "fp16"), (True, 2))

    def test_parts_are_those_in_common_by_place(self):
        ours, theirs = side(swap=True), side()
        told(ours, theirs, "fp16")
        self.assertEqual(ours["part_boxes"].shape, (QUERIES - 1, 4))
        self.assertTrue((ours["part_logits"] == theirs["part_logits"]).all())

    def test_queries_that_are_not_the_best(self):
        ours = side()
        ours["part_queries"] = ours["part_queries"].copy()
        ours["part_queries"][0, -1] = QUERIES + 5
        self.assertFalse(told(ours, side(), "fp16")[0])

    def test_too_few_in_common(self):
        ours = side()
        ours["part_query_scores"] = np.roll(ours["part_query_scores"], 4)
        ours["part_queries"] = np.argsort(-ours["part_query_scores"], kind="stable")[:, :QUERIES]
        self.assertFalse(told(ours, side(), "fp16")[0])


if __name__ == "__main__":
    unittest.main()
