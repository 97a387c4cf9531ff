"""Pooling and Resize written straight from the ONNX specification, in plain numpy.

A second opinion on the operators where runtimes differ most, and the oracle where ONNX Runtime
has no kernel or deviates.
"""

import itertools

import numpy as np


def pool_extent(length, kernel, stride, dilation, before, after, ceil):
    """(extent, whether a window that would start past the source was dropped) of a dimension."""
    room = length + before + after - (dilation * (kernel - 1) + 1)
    extent = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (extent - 1) * stride >= length + before:
        return extent - 1, True
    return extent, False


def same_pads(extent, reach, stride, upper):
    """The pads, and the destination's extents, that auto_pad SAME_UPPER or SAME_LOWER means."""
    out = [-(-e // s) for e, s in zip(extent, stride)]
    total = [max(0, (o - 1) * s + r - e) for o, s, r, e in zip(out, stride, reach, extent)]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return (small + large if upper else large + small), out


def pool(x, kernel, stride, dilation, pads, extents, average, include, column_major=False):
    """(values, indices) of MaxPool, or (values, None) of AveragePool.

    Positions past the declared padding, which ceil_mode can reach, never count.
    """
    dims, spatial = len(kernel), x.shape[2:]
    shape = x.shape[:2] + tuple(extents)
    y, indices = np.zeros(shape, np.float64), np.zeros(shape, np.int64)
    plane = int(np.prod(spatial))
    first = np.arange(x.shape[0] * x.shape[1]).reshape(x.shape[:2]) * plane
    for at in np.ndindex(*extents):
        total, count = np.zeros(x.shape[:2]), 0
        best, where = np.full(x.shape[:2], -np.inf), np.zeros(x.shape[:2], np.int64)
        for tap in itertools.product(*[range(k) for k in kernel]):
            spot = [a * s - pads[i] + t * d
                    for i, (a, s, t, d) in enumerate(zip(at, stride, tap, dilation))]
            inside = all(0 <= p < spatial[i] for i, p in enumerate(spot))
            padded = all(p < spatial[i] + pads[dims + i] for i, p in enumerate(spot))
            count += inside or (include and padded)
            if inside:
                value = x[(slice(None), slice(None), *spot)].astype(np.float64)
                total += value
                flat = int(np.ravel_multi_index(spot, spatial, order="F" if column_major else "C"))
                where = np.where(value > best, flat, where)
                best = np.maximum(value, best)
        place = (slice(None), slice(None), *at)
        y[place] = total / count if average else best
        indices[place] = first + where
    return y, None if average else indices


def source_points(mode, length, out, scale, roi=(0.0, 1.0)):
    """Where the coordinate transformation of Resize puts each destination pixel.

    The resized length is scale * length, unrounded, as ONNX's own tests of align_corners have it.
    """
    i = np.arange(out, dtype=np.float64)
    resized = scale * length
    if abs(resized - round(resized)) < 1e-6:
        resized = round(resized)
    if mode == "half_pixel":
        return (i + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        return length / 2 * (1 - out / resized) + (i + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return (i + 0.5) / scale - 0.5 if resized > 1 else i * 0
    if mode == "align_corners":
        return i * (length - 1) / (resized - 1) if resized != 1 else i * 0
    if mode == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if mode == "tf_crop_and_resize":
        if resized > 1:
            return roi[0] * (length - 1) + i * (roi[1] - roi[0]) * (length - 1) / (resized - 1)
        return i * 0 + 0.5 * (roi[0] + roi[1]) * (length - 1)
    return i / scale


def _nearest(point, rounding):
    """The index of the source pixel."""
    point = np.round(point * 2**20) / 2**20         # exact ties stay ties
    return {"round_prefer_floor": np.ceil(point - 0.5), "round_prefer_ceil": np.floor(point + 0.5),
            "floor": np.floor(point), "ceil": np.ceil(point)}[rounding]


def _filter(mode, a, distance):
    """The linear or cubic kernel."""
    t = np.abs(distance)
    if mode == "linear":
        return np.maximum(0, 1 - t)
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def resize_matrix(length, points, scale, mode, rounding, a, exclude, antialias):
    """The destination x source matrix of one axis."""
    matrix = np.zeros((len(points), length))
    for row, point in enumerate(points):
        if mode == "nearest":
            matrix[row, int(np.clip(_nearest(point, rounding), 0, length - 1))] = 1
            continue
        squeeze = min(scale, 1.0) if antialias else 1.0
        reach = int(np.ceil((1 if mode == "linear" else 2) / squeeze)) + 1
        taps = np.arange(int(np.floor(point)) - reach, int(np.floor(point)) + reach + 1)
        weights = _filter(mode, a, (taps - point) * squeeze)
        if exclude:
            weights = np.where((taps >= 0) & (taps < length), weights, 0)
        weights = weights / weights.sum()
        np.add.at(matrix[row], np.clip(taps, 0, length - 1), weights)
    return matrix


def resize(x, points, scales, mode, rounding="round_prefer_floor", a=-0.75, exclude=False,
           antialias=False, crop_value=None):
    """Resize of the trailing axes; `crop_value` replaces what lies outside (tf_crop_and_resize).

    Rounding "simple" is that of opset 10: up where an axis shrinks, else down.
    """
    y = x.astype(np.float64)
    lead = x.ndim - len(points)
    outside = np.zeros([len(p) for p in points], bool)
    for i, point in enumerate(points):
        length = x.shape[lead + i]
        way = rounding
        if rounding == "simple":
            way = "ceil" if scales[i] < 1 else "floor"
        matrix = resize_matrix(length, point, scales[i], mode, way, a, exclude, antialias)
        y = np.moveaxis(np.moveaxis(y, lead + i, -1) @ matrix.T, -1, lead + i)
        past = (point < 0) | (point > length - 1)
        outside |= past.reshape([-1 if j == i else 1 for j in range(len(points))])
    if crop_value is not None:
        y = np.where(outside, crop_value, y)
    return y
