"""Conv and ConvTranspose in one, two and three dimensions."""

import numpy as np

from case import Reject

BUILDERS = {}
KERNELS = {1: 9, 2: 7, 3: 3}
EXTENTS = {1: (1, 60), 2: (1, 22), 3: (1, 8)}


def _groups(case, dims):
    """(group, input channels a group, output channels a group)."""
    kind = case.one(["one", "one", "group", "depthwise"])
    top = 24 if dims < 3 else 6
    if kind == "one":
        return 1, case.int(1, top), case.int(1, top)
    if kind == "group":
        return case.int(2, 4), case.int(1, 6), case.int(1, 6)
    return case.int(2, top), 1, case.one([1, 1, 2])


def _spatial(case, dims):
    """(kernel, stride, dilation) for each dimension."""
    kernel, stride, dilation = [], [], []
    for _ in range(dims):
        kernel.append(case.one([1, 1, 2, 3, 3, 3, case.int(1, KERNELS[dims])]))
        stride.append(case.one([1, 1, 2, case.int(1, 4)]))
        dilation.append(case.one([1, 1, 1, 2, case.int(1, 3)]))
    if case.chance(0.6):                # square, as networks have them
        kernel, stride, dilation = ([v[0]] * dims for v in (kernel, stride, dilation))
    return kernel, stride, dilation


def _attributes(case, kernel, stride, dilation):
    """The attributes, left out at random where they have their default."""
    def shown(values, default):
        return None if all(v == default for v in values) and case.chance(0.6) else values
    return {"kernel_shape": None if case.chance(0.3) else kernel, "strides": shown(stride, 1),
            "dilations": shown(dilation, 1)}


def _values(case, dtype, batch, channels, extent, weights, count):
    """Source, weights and bias, scaled so that outputs are of order one."""
    reach = int(np.prod(weights[1:]))
    w = case.data(weights, dtype, -1, 1)
    w = (w * (1.7 / np.sqrt(reach))).astype(dtype)
    x = case.data((batch, channels, *extent), dtype, -1.7, 1.7)
    names = [case.input(x), case.param(w, "w", 0.25)]
    if case.chance(0.65):
        names.append(case.param(case.data((count,), dtype, -1, 1), "b", 0.2))
    return names


def conv(case):
    """Conv: auto_pad, asymmetric pads, dilations, groups, depthwise."""
    dtype = case.pick(f32=0.88)
    dims = case.one([1, 2, 2, 2, 2, 3])
    group, ic, oc = _groups(case, dims)
    kernel, stride, dilation = _spatial(case, dims)
    extent = [case.int(*EXTENTS[dims]) for _ in range(dims)]
    auto = case.one([None] * 5 + ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    pads = [0] * (2 * dims)
    if auto in (None, "NOTSET") and case.chance(0.75):
        pads = [case.int(0, min(4, r)) for r in reach] * 2
        if case.chance(0.4):
            pads[dims:] = [case.int(0, min(4, r)) for r in reach]
    if auto is not None and auto.startswith("SAME") and max(dilation) > 1:
        dilation = [1] * dims           # runtimes differ, and the specification is silent
        reach = kernel
    for i in range(dims):
        room = extent[i] + pads[i] + pads[dims + i]
        if room < reach[i] and not (auto or "").startswith("SAME"):
            raise Reject("the kernel does not fit")
    batch = case.one([1, 1, 2, 3])
    if batch * group * max(ic, oc) * np.prod(extent) > 8000:
        raise Reject("too large")
    if oc * group * ic * np.prod(kernel) > 8000:
        raise Reject("too large")
    names = _values(case, dtype, batch, group * ic, extent, (group * oc, ic, *kernel), group * oc)
    attributes = _attributes(case, kernel, stride, dilation)
    attributes["auto_pad"] = auto
    attributes["group"] = None if group == 1 and case.chance(0.6) else group
    if auto in (None, "NOTSET") and (any(pads) or case.chance(0.4)):
        attributes["pads"] = pads
    case.node(names, **attributes)
    case.output(dtype)


def conv_transpose(case):
    """ConvTranspose: output_padding, output_shape, auto_pad, groups."""
    dtype = case.pick(f32=0.88)
    dims = case.one([1, 2, 2, 2, 3])
    group, ic, oc = _groups(case, dims)
    kernel, stride, dilation = _spatial(case, dims)
    extent = [case.int(1, max(2, EXTENTS[dims][1] // 3)) for _ in range(dims)]
    kind = case.one(["plain", "pads", "pads", "output_padding", "output_shape", "SAME_UPPER",
                     "SAME_LOWER", "VALID"])
    attributes = {}
    extra = [0] * dims
    pads = [0] * (2 * dims)
    if kind == "output_padding" or (kind == "pads" and case.chance(0.3)):
        extra = [case.int(0, max(s, d) - 1) if s > 1 else 0 for s, d in zip(stride, dilation)]
        attributes["output_padding"] = extra
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    if kind in ("pads", "output_padding"):
        pads = [case.int(0, r // 2) for r in reach] * 2
        if case.chance(0.4):
            pads[dims:] = [case.int(0, r // 2) for r in reach]
        attributes["pads"] = pads
    full = [s * (e - 1) + x + r for s, e, x, r in zip(stride, extent, extra, reach)]
    if kind == "output_shape":
        out = [max(1, f - case.int(0, min(3, r - 1))) for f, r in zip(full, reach)]
        attributes["output_shape"] = out
        attributes["auto_pad"] = case.one([None, "SAME_UPPER", "SAME_LOWER"])
    elif kind.startswith("SAME"):
        attributes["auto_pad"] = kind
        if any(r < s for r, s in zip(reach, stride)):
            raise Reject("SAME would need negative pads")
    elif kind == "VALID":
        attributes["auto_pad"] = kind
    if any(f - pads[i] - pads[dims + i] < 1 for i, f in enumerate(full)):
        raise Reject("an empty destination")
    batch = case.one([1, 1, 2])
    if batch * group * max(ic, oc) * np.prod(full) > 8000:
        raise Reject("too large")
    if oc * group * ic * np.prod(kernel) > 8000:
        raise Reject("too large")
    names = _values(case, dtype, batch, group * ic, extent, (group * ic, oc, *kernel), group * oc)
    attributes.update(_attributes(case, kernel, stride, dilation))
    attributes["group"] = None if group == 1 and case.chance(0.6) else group
    case.node(names, **attributes)
    case.output(dtype)


BUILDERS.update(Conv=conv, ConvTranspose=conv_transpose)
