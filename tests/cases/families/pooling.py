"""MaxPool, AveragePool and GlobalAveragePool in one, two and three dimensions."""

import numpy as np

from case import F32, I64, Reject
from definitions import pool as pool_definition, pool_extent, same_pads

BUILDERS = {}
TOP = {1: 50, 2: 16, 3: 7}


def pool(case):
    """MaxPool (with Indices at times) and AveragePool."""
    biggest = case.op == "MaxPool"
    dtype = case.pick(f32=0.8)
    dims = case.one([1, 2, 2, 2, 2, 3])
    extent = [case.int(1, TOP[dims]) for _ in range(dims)]
    kernel = [case.int(1, min(5, e + 1)) for e in extent]
    stride = [case.int(1, 3) for _ in extent]
    dilation = [1] * dims
    if case.opset >= (10 if biggest else 19) and case.chance(0.4):
        dilation = [case.int(1, 3) for _ in extent]
    if case.chance(0.5):
        kernel, stride, dilation = ([v[0]] * dims for v in (kernel, stride, dilation))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    auto = case.one([None] * 5 + ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
    if auto and auto.startswith("SAME"):
        dilation, reach = [1] * dims, kernel
    ceil = case.opset >= 10 and auto in (None, "NOTSET") and case.chance(0.4)
    include = not biggest and case.opset >= 7 and case.chance(0.5)
    pads = [0] * (2 * dims)
    if auto in (None, "NOTSET") and case.chance(0.7):
        pads = [case.int(0, k // 2) for k in kernel] * 2
        if case.chance(0.4):
            pads[dims:] = [case.int(0, k // 2) for k in kernel]
    sizes = []
    for i in range(dims):
        if extent[i] + pads[i] + pads[dims + i] < reach[i] and not (auto or "").startswith("SAME"):
            raise Reject("the kernel does not fit")
        sizes.append(pool_extent(extent[i], kernel[i], stride[i], dilation[i], pads[i],
                                 pads[dims + i], ceil))
    if case.opset < 22 and any(dropped for _, dropped in sizes):
        raise Reject("a window past the source: only specified from opset 22")
    for i in range(dims):               # every window must see the source
        for out in range(sizes[i][0]):
            first = out * stride[i] - pads[i]
            taps = [first + t * dilation[i] for t in range(kernel[i])]
            if auto in (None, "NOTSET") and not any(0 <= t < extent[i] for t in taps):
                raise Reject("a window of padding only")
    shape = (case.int(1, 3), case.int(1, 4), *extent)
    if np.prod(shape) > 2500:
        raise Reject("too large")
    with_indices = biggest and case.opset >= 8 and dtype.kind == "f" and case.chance(0.25)
    x = case.distinct(shape, dtype) if with_indices else case.data(shape, dtype)
    attributes = {"kernel_shape": kernel, "auto_pad": auto}
    attributes["strides"] = None if set(stride) == {1} and case.chance(0.6) else stride
    if auto in (None, "NOTSET") and (any(pads) or case.chance(0.4)):
        attributes["pads"] = pads
    if max(dilation) > 1 or (case.opset >= (10 if biggest else 19) and case.chance(0.2)):
        attributes["dilations"] = dilation
    if ceil or (case.opset >= 10 and case.chance(0.2)):
        attributes["ceil_mode"] = int(ceil)
    if include or (not biggest and case.opset >= 7 and case.chance(0.2)):
        attributes["count_include_pad"] = int(include)
    if with_indices:
        attributes["storage_order"] = case.one([None, 0, 1])
    case.node([case.input(x)], ("y", "indices") if with_indices else ("y",), **attributes)
    case.output(dtype)
    if with_indices:
        case.output(I64, "indices")
    extents = [size for size, _ in sizes]
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads, extents = same_pads(extent, reach, stride, auto == "SAME_UPPER")
        if any((o - 1) * s + r < e for o, s, r, e in zip(extents, stride, reach, extent)):
            raise Reject("SAME would need negative pads: runtimes differ")

    def answer():
        y, indices = pool_definition(x, kernel, stride, dilation, pads, extents, not biggest,
                                     include, attributes.get("storage_order") == 1)
        return [y.astype(F32 if dtype.kind == "f" else dtype), indices][:1 + with_indices]
    case.answer = answer


def global_average(case):
    """GlobalAveragePool."""
    dtype = case.pick(f32=0.8)
    x = case.data(case.shape(3, 5, zero=0), dtype)
    case.node([case.input(x)])
    case.output(dtype)
    case.answer = lambda: [x.astype(np.float64).mean(axis=tuple(range(2, x.ndim)), keepdims=True)]


BUILDERS.update(MaxPool=pool, AveragePool=pool, GlobalAveragePool=global_average)
