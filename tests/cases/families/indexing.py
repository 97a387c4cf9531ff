"""Gather, GatherElements, GatherND and ScatterND, with negative indices where allowed."""

import numpy as np

from case import BOOL, I32, I64, Reject

BUILDERS = {}


def _indices(case, shape, length, negative, dtype=I64):
    """Indices into an axis of `length`."""
    low = -length if negative else 0
    return np.asarray(case.rng.integers(low, length, shape)).astype(dtype)


def gather(case):
    """Gather: negative indices from opset 11; some indices are scalars, a few empty."""
    x = case.data(case.shape(1, 5, elems=600, zero=0), case.pick(f32=0.5))
    axis = case.int(-x.ndim, x.ndim - 1)
    if case.opset < 11:
        axis %= x.ndim
    shape = case.shape(0, 3, elems=12)
    indices = _indices(case, shape, x.shape[axis], case.opset >= 11, case.one([I64, I64, I32]))
    case.node([case.input(x), case.param(indices, "indices", 0.5)],
              axis=None if axis == 0 and case.chance(0.5) else axis)
    case.output(x.dtype)
    case.answer = lambda: [np.take(x, indices, axis)]


def gather_elements(case):
    """GatherElements."""
    x = case.data(case.shape(1, 5, elems=400, zero=0), case.pick(f32=0.5))
    axis = case.int(-x.ndim, x.ndim - 1)
    shape = [case.int(1, d) for d in x.shape]
    shape[axis] = case.int(1, 2 * x.shape[axis])
    indices = _indices(case, tuple(shape), x.shape[axis], True, case.one([I64, I64, I32]))
    case.node([case.input(x), case.param(indices, "indices", 0.6)],
              axis=None if axis == 0 and case.chance(0.5) else axis)
    case.output(x.dtype)
    at = axis % x.ndim

    def answer():
        part = x[tuple(slice(None) if i == at else slice(shape[i]) for i in range(x.ndim))]
        return [np.take_along_axis(part, indices % x.shape[at], at)]
    case.answer = answer


def gather_nd(case):
    """GatherND, with batch_dims from opset 12."""
    x = case.data(case.shape(1, 6, elems=500, zero=0), case.pick(f32=0.5))
    batch = case.int(0, min(2, x.ndim - 1)) if case.opset >= 12 and case.chance(0.6) else 0
    depth = case.int(1, x.ndim - batch)
    outer = x.shape[:batch] + tuple(case.int(1, 3) for _ in range(case.int(0, 2)))
    if len(outer) > 4:
        raise Reject("rank")
    columns = [_indices(case, outer, x.shape[batch + i], True) for i in range(depth)]
    indices = np.stack(columns, -1)
    case.node([case.input(x), case.param(indices, "indices", 0.6)],
              batch_dims=batch if batch or (case.opset >= 12 and case.chance(0.3)) else None)
    case.output(x.dtype)

    def answer():
        lead = x.shape[:batch]
        parts = [x[at][tuple(np.moveaxis(indices[at], -1, 0))] for at in np.ndindex(*lead)]
        return [np.stack(parts).reshape(lead + parts[0].shape)]
    case.answer = answer


def scatter_nd(case):
    """ScatterND: unique indices without a reduction, repeated ones with add, mul, max, min."""
    modes = ["none"]
    modes += ["add", "mul"] * (case.opset >= 16) + ["max", "min"] * (case.opset >= 18)
    mode = modes[case.index % len(modes)]
    dtype = case.pick(f32=0.6)
    if mode != "none" and dtype == BOOL:
        raise Reject("a reduction of bool")
    x = case.data(case.shape(1, 5, elems=400, zero=0), dtype)
    depth = case.int(1, x.ndim)
    space = x.shape[:depth]
    count = case.int(1, min(8, int(np.prod(space))))
    flat = case.rng.choice(int(np.prod(space)), count, replace=mode != "none")
    indices = np.stack(np.unravel_index(flat, space), -1).astype(I64)
    negative = case.rng.random(indices.shape) < (0.3 if case.opset >= 11 else 0)
    indices = np.where(negative, indices - np.array(space), indices).astype(I64)
    if count % 2 == 0 and case.chance(0.4):
        indices = indices.reshape(2, count // 2, depth)
    updates = case.data(indices.shape[:-1] + x.shape[depth:], dtype,
                        *((-1.2, 1.2) if mode == "mul" else (-3, 3)))
    case.node([case.input(x), case.param(indices, "indices", 0.5),
               case.param(updates, "updates", 0.7)],
              reduction=mode if mode != "none" or (case.opset >= 16 and case.chance(0.4)) else None)
    case.output(dtype)

    def answer():
        y = x.copy() if dtype != np.float16 else x.astype(np.float32)
        function = {"add": np.add, "mul": np.multiply, "max": np.maximum,
                    "min": np.minimum}.get(mode, lambda old, new: new)
        for at in np.ndindex(*indices.shape[:-1]):
            where = tuple(indices[at])
            y[where] = function(y[where], updates[at])
        return [y]
    case.answer = answer


BUILDERS.update(Gather=gather, GatherElements=gather_elements, GatherND=gather_nd,
                ScatterND=scatter_nd)
