"""Operators that make or rearrange values: shape, slice, join, pad, fill."""

import numpy as np
from onnx import numpy_helper

from case import BOOL, F16, F32, I32, I64, I8, U8, Reject

BUILDERS = {}


def _axes(case, rank, count, low_opset=11):
    """`count` different axes, some negative where the opset has negative axes."""
    axes = [int(a) for a in case.rng.permutation(rank)[:count]]
    return [a - rank if case.opset >= low_opset and case.chance(0.4) else a for a in axes]


def concat(case):
    """Concat of one to five inputs."""
    dtype = case.pick()
    shape = list(case.shape(1, 5, elems=400))
    axis = case.int(0, len(shape) - 1)
    arrays = []
    for _ in range(case.int(1, 5)):
        shape[axis] = case.int(0 if case.chance(0.15) else 1, 6)
        arrays.append(case.data(tuple(shape), dtype))
    names = [case.input(a) if i == 0 else case.param(a, as_input=0.7)
             for i, a in enumerate(arrays)]
    shown = axis - len(shape) if case.opset >= 11 and case.chance(0.4) else axis
    case.node(names, axis=shown)
    case.output(dtype)
    case.answer = lambda: [np.concatenate(arrays, axis)]


def split(case):
    """Split: equal parts, sizes, or from opset 18 a number of parts."""
    dtype = case.pick()
    shape = list(case.shape(1, 5, elems=400, zero=0))
    axis, parts = case.int(0, len(shape) - 1), case.int(1, 4)
    kind = case.one(["equal", "sizes"] + ["number"] * 2 * (case.opset >= 18))
    if kind == "equal":
        shape[axis] = parts * case.int(1, 4)
        sizes = [shape[axis] // parts] * parts
    elif kind == "number":
        each, rest = case.int(1, 4), case.int(0, 3)
        shape[axis] = each * (parts - 1) + max(1, each - rest)
        each = -(-shape[axis] // parts)
        sizes = [each] * (parts - 1) + [shape[axis] - each * (parts - 1)]
        if sizes[-1] <= 0:
            raise Reject("an empty last part")
    else:
        sizes = [case.int(0 if case.chance(0.1) else 1, 4) for _ in range(parts)]
        shape[axis] = sum(sizes)
        if shape[axis] == 0:
            raise Reject("an empty axis")
    x = case.data(tuple(shape), dtype)
    shown = axis - len(shape) if case.opset >= 11 and case.chance(0.4) else axis
    names = [case.input(x)]
    attributes = {"axis": None if axis == 0 and case.chance(0.5) else shown}
    if kind == "number" or (kind == "equal" and case.opset >= 18):
        attributes["num_outputs"] = parts
    elif kind == "sizes" and case.opset >= 13:
        names.append(case.param(np.array(sizes, I64), "split"))
    elif kind == "sizes":
        attributes["split"] = sizes
    outputs = [f"y{i}" for i in range(parts)]
    case.node(names, outputs, **attributes)
    for name in outputs:
        case.output(dtype, name)
    case.answer = lambda: np.split(x, np.cumsum(sizes)[:-1], axis)


def slice_(case):
    """Slice: attributes up to opset 9, inputs with optional axes and steps from 10."""
    dtype = case.pick(f32=0.5)
    x = case.data(case.shape(1, 6), dtype)
    count = case.int(1, x.ndim)
    axes = _axes(case, x.ndim, count, 11)
    use_axes = case.chance(0.8)
    if not use_axes:
        axes = list(range(count))
    use_steps = case.opset >= 10 and case.chance(0.6)
    starts, ends, steps, index = [], [], [], [slice(None)] * x.ndim
    for axis in axes:
        length = x.shape[axis]
        step = case.one([1, 2, 3, -1, -2]) if use_steps else 1
        low, high = case.int(-length, length), case.int(-length, length)
        if length:
            low, high = low % (length + 1), high % (length + 1)
        low, high = min(low, high), max(low, high)
        start, end = (low, high) if step > 0 else (high, low)
        if case.chance(0.25):       # far past the end, as exporters write it
            end = case.one([length + 5, 2**31 - 1, 2**63 - 1]) if step > 0 else -length - 5
        elif case.chance(0.3) and length and 0 < end < length:
            end -= length
        if case.chance(0.3) and length and 0 < start < length:
            start -= length
        index[axis] = slice(start, None if end < -length else min(end, length), step)
        starts.append(start), ends.append(end), steps.append(step)
    if case.opset < 10:
        case.node([case.input(x)], starts=starts, ends=ends, axes=axes if use_axes else None)
    else:
        kind = I64 if any(abs(e) > 2**31 - 1 for e in ends) else case.one([I64, I32])
        names = [case.input(x)]
        names += [case.param(np.array(v, kind), n) for v, n in ((starts, "start"), (ends, "end"))]
        if use_axes or use_steps:
            names.append(case.param(np.array(axes, kind), "axes") if use_axes else "")
        if use_steps:
            names.append(case.param(np.array(steps, kind), "steps"))
        case.node(names)
    case.output(dtype)
    case.answer = lambda: [x[tuple(index)]]


def reshape(case):
    """Reshape with 0, -1 and from opset 14 allowzero."""
    dtype = case.pick(f32=0.4)
    allowzero = case.opset >= 14 and case.chance(0.3)
    shape = case.shape(0, 6, zero=0.4 if allowzero else 0.03)
    x = case.data(shape, dtype)
    pool = [d for d in shape]
    target = []
    left = x.size
    if allowzero and 0 in shape:
        target = [case.int(0, 4) for _ in range(case.int(1, 4))]
        if 0 not in target:
            target[case.int(0, len(target) - 1)] = 0
    else:
        case.rng.shuffle(pool)
        while pool:                                # join and split dims at random
            take = [pool.pop() for _ in range(min(len(pool), case.int(1, 2)))]
            target.append(int(np.prod(take)))
        while len(target) < 7 and case.chance(0.3):
            target.insert(case.int(0, len(target)), 1)
        shown = list(target)
        if shown and left and case.chance(0.5):
            shown[case.int(0, len(shown) - 1)] = -1
        elif not left and not allowzero:
            shown = [0 if i < len(shape) and target[i] == shape[i] else target[i]
                     for i in range(len(target))]
        for i in range(min(len(shown), len(shape))):
            if not allowzero and shown[i] == shape[i] and case.chance(0.5):
                shown[i] = 0
        if not left and any(d == 0 and (i >= len(shape) or shape[i]) for i, d in enumerate(shown)):
            raise Reject("0 copies a dimension that is not empty")
        target = shown
    case.node([case.input(x), case.param(np.array(target, I64), "shape")],
              allowzero=1 if allowzero else (0 if case.opset >= 14 and case.chance(0.3) else None))
    case.output(dtype)

    def answer():
        dims = target if allowzero else [shape[i] if d == 0 else d for i, d in enumerate(target)]
        return [x.reshape(dims)]
    case.answer = answer


def transpose(case):
    """Transpose."""
    dtype = case.pick(f32=0.4)
    x = case.data(case.shape(0, 6), dtype)
    perm = None
    if x.ndim and case.chance(0.75):
        perm = [int(i) for i in case.rng.permutation(x.ndim)]
    case.node([case.input(x)], perm=perm)
    case.output(dtype)
    case.answer = lambda: [np.transpose(x, perm)]


def flatten(case):
    """Flatten."""
    dtype = case.pick(f32=0.4)
    x = case.data(case.shape(1, 6), dtype)
    axis = case.one([None, case.int(-x.ndim if case.opset >= 11 else 0, x.ndim)])
    case.node([case.input(x)], axis=axis)
    case.output(dtype)
    at = 1 if axis is None else axis + x.ndim if axis < 0 else axis
    case.answer = lambda: [x.reshape(int(np.prod(x.shape[:at])), int(np.prod(x.shape[at:])))]


def _axes_operator(case, x, axes, answer):
    """Common end of Squeeze and Unsqueeze: axes by attribute, by input from opset 13."""
    names, attributes = [case.input(x)], {}
    if axes is not None and case.opset >= 13:
        names.append(case.param(np.array(axes, I64), "axes"))
    elif axes is not None:
        attributes["axes"] = axes
    case.node(names, **attributes)
    case.output(x.dtype)
    case.answer = answer


def squeeze(case):
    """Squeeze of some or of all dims of size 1."""
    dims = [1 if case.chance(0.4) else d for d in case.shape(1, 6)]
    x = case.data(tuple(dims), case.pick(f32=0.4))
    ones = [i for i, d in enumerate(dims) if d == 1]
    axes = None
    if ones and case.chance(0.75):
        axes = [int(a) for a in case.rng.permutation(ones)[:case.int(1, len(ones))]]
    if axes and case.opset >= 11:
        axes = [a - x.ndim if case.chance(0.4) else a for a in axes]
    _axes_operator(case, x, axes, lambda: [np.squeeze(x, None if axes is None else tuple(axes))])


def unsqueeze(case):
    """Unsqueeze; the axes may be in any order from opset 11."""
    x = case.data(case.shape(0, 5), case.pick(f32=0.4))
    count = case.int(1, 2)
    axes = _axes(case, x.ndim + count, count)
    if case.opset < 11:
        axes.sort()
    _axes_operator(case, x, axes, lambda: [np.expand_dims(x, tuple(axes))])


def expand(case):
    """Expand: the shapes broadcast both ways."""
    dtype = case.pick(f32=0.5)
    full = case.shape(0, 6)
    x_shape = [1 if case.chance(0.35) else d for d in full]
    target = [1 if case.chance(0.25) else d for d in full]
    if case.chance(0.5):
        x_shape = x_shape[case.int(0, len(full)):]
    elif case.chance(0.3):
        target = target[case.int(0, len(full)):]
    x = case.data(tuple(x_shape), dtype)
    case.node([case.input(x), case.param(np.array(target, I64), "shape")])
    case.output(dtype)
    case.answer = lambda: [np.ones(target, dtype) * x if dtype != BOOL
                           else np.ones(target, BOOL) & x]


def tile(case):
    """Tile."""
    dtype = case.pick(f32=0.5)
    x = case.data(case.shape(1, 5, elems=200), dtype)
    repeats = [case.one([1, 1, 2, 3, 0 if case.chance(0.1) else 2]) for _ in x.shape]
    case.node([case.input(x), case.param(np.array(repeats, I64), "repeats")])
    case.output(dtype)
    case.answer = lambda: [np.tile(x, repeats)]


def shape(case):
    """Shape, with start and end from opset 15."""
    dtype = case.pick(f32=0.4)
    x = case.data(case.shape(0, 6, zero=0.1), dtype)
    start = end = None
    if case.opset >= 15:
        start = case.one([None, case.int(-x.ndim - 2, x.ndim + 2)])
        end = case.one([None, case.int(-x.ndim - 2, x.ndim + 2)])
    case.node([case.input(x)], start=start, end=end)
    case.output(I64)

    def answer():
        def clamp(v):
            return min(max(v + x.ndim if v < 0 else v, 0), x.ndim)
        low, high = clamp(start or 0), clamp(x.ndim if end is None else end)
        return [np.array(x.shape[low:high], I64)]
    case.answer = answer


def constant(case):
    """Constant by tensor, and by number or list from opset 12; alone, or added to an input."""
    form = case.one(["value"] + 2 * ["value_int", "value_ints", "value_float", "value_floats"]
                    * (case.opset >= 12))
    if form == "value":
        types = [F32, F16] if case.opset < 9 else [F32, F16, I32, I64, BOOL, U8, I8]
        value = case.data(case.shape(), case.one(types))
        attribute = case._tensor("", value, case.chance(0.3))
    else:
        dtype = I64 if "int" in form else F32
        value = case.data((case.int(1, 6),) if form[-1] == "s" else (), dtype)
        attribute = value.tolist()
    if value.dtype in (F32, I64) and case.chance(0.4):
        x = case.data((2, 1), value.dtype)
        case.node([], ("c",), **{form: attribute})
        if case.opset < 7 and value.shape:
            case.node(["c"], op="Identity")
            case.answer = lambda: [value]
        else:
            case.node([case.input(x), "c"], op="Add", broadcast=1 if case.opset < 7 else None)
            case.answer = lambda: [x + value]
    else:
        case.node([], ("y",), **{form: attribute})
        case.answer = lambda: [value]
    case.widen = False
    case.output(value.dtype)


def constant_of_shape(case):
    """ConstantOfShape."""
    dims = case.shape(0, 5, elems=300, zero=0.15)
    value = case.one([None, F32, F32, F16, I32, I64, BOOL, U8, I8])
    attributes = {}
    out = F32
    filled = np.zeros((1,), F32)
    if value is not None:
        out = np.dtype(value)
        filled = case.data((1,), out)
        attributes["value"] = numpy_helper.from_array(filled)
    case.node([case.param(np.array(dims, I64), "shape", 0.5)], **attributes)
    case.output(out)
    case.widen = False
    case.answer = lambda: [np.full(dims, filled[0], out)]


def range_(case):
    """Range: never within rounding of another length."""
    dtype = case.pick(f32=0.5)
    if dtype.kind == "f":
        start, delta = case.int(-20, 20) / 4, case.one([0.25, 0.5, 0.75, 1.25, -0.25, -1.5])
        limit = start + delta * (case.int(0, 30) + (0.5 if case.chance(0.6) else 0))
    else:
        start, delta = case.int(-20, 20), case.one([1, 2, 3, 7, -1, -3])
        limit = start + delta * case.int(0, 30) + case.int(0, abs(delta) - 1)
        if case.chance(0.1):
            limit = start - delta       # empty
    values = [np.asarray(v, dtype) for v in (start, limit, delta)]
    case.node([case.param(v, n, 0.4) for v, n in zip(values, ("start", "limit", "delta"))])
    case.output(dtype)
    case.answer = lambda: [np.arange(*[v.item() for v in values]).astype(dtype)]


def pad(case):
    """Pad in every mode, negative pads, and axes from opset 18."""
    modes = ["constant", "reflect", "edge"] + ["wrap"] * (case.opset >= 19)
    mode = modes[case.index % len(modes)]
    dtype = case.pick(f32=0.6)
    x = case.data(case.shape(1, 5, elems=400, zero=0), dtype)
    axes = None
    count = x.ndim
    if case.opset >= 18 and case.chance(0.4):
        count = case.int(1, x.ndim)
        axes = _axes(case, x.ndim, count)
    pads = []
    for axis in axes or range(x.ndim):
        length = x.shape[axis]
        top = 3 if mode in ("constant", "edge") else min(3, length - (mode == "reflect"))
        low = -1 if mode == "constant" and length > 3 and case.chance(0.3) else 0
        pads.append((case.int(low, max(0, top)), case.int(low, max(0, top))))
    flat = [p[0] for p in pads] + [p[1] for p in pads]
    value = None
    attributes = {"mode": None if mode == "constant" and case.chance(0.5) else mode}
    names = [case.input(x)]
    if mode == "constant" and case.chance(0.7):
        value = case.data((), dtype)
    if case.opset < 11:
        attributes["pads"] = flat
        attributes["value"] = None if value is None else float(value)
    else:
        names.append(case.param(np.array(flat, I64), "pads"))
        if value is not None or axes is not None:
            names.append("" if value is None else case.param(value, "value", 0.2))
        if axes is not None:
            names.append(case.param(np.array(axes, I64), "axes"))
    case.node(names, **attributes)
    case.output(dtype)

    def answer():
        full = [(0, 0)] * x.ndim
        for axis, pair in zip(axes or range(x.ndim), pads):
            full[axis] = pair
        y = x[tuple(slice(max(0, -a), x.shape[i] - max(0, -b)) for i, (a, b) in enumerate(full))]
        grown = [(max(0, a), max(0, b)) for a, b in full]
        if mode == "constant":
            return [np.pad(y, grown, constant_values=0 if value is None else value)]
        return [np.pad(y, grown, mode=mode)]
    case.answer = answer


BUILDERS.update(Concat=concat, Split=split, Slice=slice_, Reshape=reshape, Transpose=transpose,
                Flatten=flatten, Squeeze=squeeze, Unsqueeze=unsqueeze, Expand=expand, Tile=tile,
                Shape=shape, Constant=constant, ConstantOfShape=constant_of_shape, Range=range_,
                Pad=pad)
