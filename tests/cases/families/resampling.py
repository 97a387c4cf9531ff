"""Resize, Upsample and GridSample.

Draws are refused where rounding decides: a sample point within 1e-4 of a tie between two source
pixels, or a scaled extent within 1e-4 of a whole number, unless the arithmetic is exact.
"""

import numpy as np

from case import F16, F32, I64, Reject
from definitions import resize as resize_definition, source_points

BUILDERS = {}
EXACT = [0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0]


def _extent(length, scale):
    """floor(length * scale), refused where rounding decides."""
    exact = length * scale
    near = abs(exact - round(exact))
    if 0 < near < 1e-4:
        raise Reject("an extent near a whole number")
    return int(np.floor(exact + 1e-9))


def _refuse_ties(points, rounding):
    """Refuses nearest-mode points so close to a tie that float32 could decide otherwise."""
    offset = 0.5 if rounding.startswith("round") else 0.0
    near = np.abs(points - offset - np.round(points - offset))
    dyadic = np.abs(points * 64 - np.round(points * 64)) < 1e-9
    if np.any((near < 1e-4) & ~dyadic) or np.any((near < 1e-4) & (near > 1e-12)):
        raise Reject("a sample point near a tie")


def _resize_attributes(case, mode):
    """Attributes of Resize that fit the opset."""
    attributes = {"mode": mode if mode != "nearest" or case.chance(0.6) else None}
    if case.opset < 11:
        return attributes, "asymmetric", "simple"
    names = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric",
             "tf_crop_and_resize"]
    names += ["tf_half_pixel_for_nn"] * (case.opset < 13)
    names += ["half_pixel_symmetric"] * (case.opset >= 19)
    coordinates = names[(case.index // 3) % len(names)]
    if coordinates != "half_pixel" or case.chance(0.5):
        attributes["coordinate_transformation_mode"] = coordinates
    rounding = "round_prefer_floor"
    if mode == "nearest":
        rounding = case.one(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
        if rounding != "round_prefer_floor" or case.chance(0.5):
            attributes["nearest_mode"] = rounding
    if mode == "cubic":
        attributes["cubic_coeff_a"] = case.one([None, -0.5, -0.75])
        attributes["exclude_outside"] = case.one([None, 0, 1])
    if coordinates == "tf_crop_and_resize":
        attributes["extrapolation_value"] = case.one([None, 2.5])
    return attributes, coordinates, rounding


def resize(case):
    """Resize: scales or sizes, every coordinate and nearest mode, antialias, axes, policies."""
    mode = ["nearest", "linear", "cubic"][case.index % 3]
    if case.opset < 11 and mode == "cubic":
        mode = "linear"
    attributes, coordinates, rounding = _resize_attributes(case, mode)
    dtype = case.pick(f32=0.8) if mode == "nearest" else case.pick(f32=0.9, only=[F32, F16])
    spatial = 2 if mode == "cubic" else case.one([1, 2, 2, 2, 3])
    if case.opset >= 18 and mode != "nearest" and spatial == 2 and case.chance(0.5) \
            and coordinates != "tf_crop_and_resize":
        attributes["antialias"] = 1
    extent = [case.int(2, {1: 30, 2: 14, 3: 6}[spatial]) for _ in range(spatial)]
    shape = (case.int(1, 2), case.int(1, 3), *extent)
    sized = case.opset >= 11 and case.chance(0.45)
    policy = "stretch"
    if sized:
        out = [case.int(1, 2 * e + 2) for e in extent]
        if case.opset >= 18 and case.chance(0.35):
            policy = attributes["keep_aspect_ratio_policy"] = case.one(
                ["stretch", "not_larger", "not_smaller"])
        scales = [o / e for o, e in zip(out, extent)]
        wanted = list(out)
        if policy != "stretch":
            chosen = (min if policy == "not_larger" else max)(scales)
            scales = [chosen] * spatial
            fraction = [abs(chosen * e % 1 - 0.5) for e in extent]
            if min(fraction) < 1e-3:
                raise Reject("an extent half-way between two")
            out = [int(np.floor(chosen * e + 0.5)) for e in extent]
            if min(out) < 1:
                raise Reject("an empty destination")
    else:
        whole = case.chance(0.5)
        scales = [case.one(EXACT) if whole else round(float(case.rng.uniform(0.4, 3.2)), 2)
                  for _ in extent]
        scales = [float(F32.type(s)) for s in scales]
        out = [_extent(e, s) for e, s in zip(extent, scales)]
    if min(out) < 1 or np.prod(out) > 1500:
        raise Reject("an empty or a large destination")
    roi = [(0.0, 1.0)] * spatial
    if coordinates == "tf_crop_and_resize":
        roi = [sorted(float(F32.type(v)) for v in case.rng.uniform(-0.2, 1.2, 2)) for _ in extent]
    every = [source_points(coordinates, extent[i], out[i], scales[i], roi[i])
             for i in range(spatial)]
    for i, points in enumerate(every):
        if coordinates == "tf_crop_and_resize":     # outside or not is decided by rounding too
            edges = np.minimum(np.abs(points), np.abs(points - (extent[i] - 1)))
            if np.any((edges < 1e-4) & (edges > 0)):
                raise Reject("a sample point near the edge")
        if mode == "nearest":
            _refuse_ties(points, rounding)
    whole = all(abs(s * e - o) < 1e-6 for s, e, o in zip(scales, extent, out))
    if not whole and (coordinates == "tf_crop_and_resize" or policy != "stretch"
                      or (coordinates == "pytorch_half_pixel" and 1 in out)):
        raise Reject("whether the resized length is rounded is not specified")
    if not whole and coordinates == "align_corners":
        case.prefer, case.note = "numpy", "ONNX Runtime rounds the resized length"
    if coordinates == "tf_crop_and_resize" and any(s == 1 for s in scales):
        case.prefer, case.note = "numpy", "ONNX Runtime ignores roi where the scale is 1"
    if not whole and coordinates == "half_pixel_symmetric" and "antialias" in attributes:
        case.prefer, case.note = "numpy", "ONNX Runtime's antialias lacks the symmetric shift"
    x = _resize_node(case, attributes, shape, dtype, scales, wanted if sized else None, roi)

    def answer():
        crop = attributes.get("extrapolation_value") or 0.0
        a = attributes.get("cubic_coeff_a")
        y = resize_definition(x, every, scales, mode, rounding, -0.75 if a is None else a,
                              attributes.get("exclude_outside") == 1,
                              attributes.get("antialias") == 1,
                              crop if coordinates == "tf_crop_and_resize" else None)
        return [y.astype(F32 if dtype.kind == "f" else dtype)]
    case.answer = answer


def _resize_node(case, attributes, shape, dtype, scales, sizes, roi):
    """Adds the node with its inputs in the form of the opset; returns the source."""
    x = case.data(shape, dtype)
    names = [case.input(x)]
    rank, spatial = len(shape), len(scales)
    axes = None
    if case.opset >= 18 and case.chance(0.35):
        axes = list(range(rank - spatial, rank))
        if case.chance(0.5):
            axes = [a - rank for a in axes]
        attributes["axes"] = axes
    if sizes is not None and "keep_aspect_ratio_policy" in attributes and axes is None:
        axes = attributes["axes"] = list(range(rank - spatial, rank))
    lead = 0 if axes is not None else rank - spatial
    scales = np.array([1.0] * lead + list(scales), F32)
    if case.opset < 11:
        names.append(case.param(scales, "scales"))
    else:
        cropped = attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
        starts = [0.0] * lead + [r[0] for r in roi]
        ends = [1.0] * lead + [r[1] for r in roi]
        if cropped:
            names.append(case.param(np.array(starts + ends, F32), "roi"))
        elif case.opset < 13:           # not optional yet, but may be empty
            names.append(case.const(np.zeros((0,), F32), "roi"))
        else:
            names.append("")
        if sizes is None:
            names.append(case.param(scales, "scales"))
        else:
            names.append(case.const(np.zeros((0,), F32), "scales") if case.opset < 13 else "")
            full = list(shape[:lead]) + list(sizes)
            names.append(case.param(np.array(full, I64), "sizes"))
    case.node(names, **attributes)
    case.output(dtype)
    return x


def _upsampled(x, scales, out, linear):
    """Upsample by its definition: source point i / scale."""
    y = x.astype(np.float64) if x.dtype.kind == "f" else x
    for axis, (scale, count) in enumerate(zip(scales, out)):
        point = np.arange(count) / scale
        low = np.minimum(np.floor(point + 1e-9).astype(int), x.shape[axis] - 1)
        if not linear:
            y = np.take(y, low, axis)
            continue
        high = np.minimum(low + 1, x.shape[axis] - 1)
        weight = np.clip(point - low, 0, 1).reshape((-1,) + (1,) * (x.ndim - 1 - axis))
        y = np.take(y, low, axis) * (1 - weight) + np.take(y, high, axis) * weight
    return y


def upsample(case):
    """Upsample: height_scale and width_scale in opset 6, scales from 7, by input in 9."""
    spatial = 2 if case.opset < 7 else case.one([1, 2, 2, 3])
    linear = case.chance(0.45)
    dtype = case.pick(f32=0.8, only=[F32, F16] if linear else None)
    extent = [case.int(1, 9 if spatial < 3 else 5) for _ in range(spatial)]
    shape = (case.int(1, 2), case.int(1, 3), *extent)
    scales = [case.one([1.0, 1.5, 2.0, 2.5, 3.0]) for _ in extent]
    if case.chance(0.4) and not linear:
        scales = [float(F32.type(round(float(case.rng.uniform(1, 3)), 2))) for _ in extent]
    out = [_extent(e, s) for e, s in zip(extent, scales)]
    for s, o in zip(scales, out):
        if not linear:
            _refuse_ties(np.arange(o) / s, "floor")
    x = case.data(shape, dtype)
    mode = ("bilinear" if case.opset < 7 else "linear") if linear else case.one([None, "nearest"])
    full = [1.0, 1.0, *scales]
    if case.opset < 7:
        case.node([case.input(x)], mode=mode, height_scale=scales[0], width_scale=scales[1])
    elif case.opset < 9:
        case.node([case.input(x)], mode=mode, scales=full)
    else:
        case.node([case.input(x), case.param(np.array(full, F32), "scales")], mode=mode)
    case.output(dtype)
    case.answer = lambda: [_upsampled(x, full, list(shape[:2]) + out, linear).astype(dtype)]


def grid_sample(case):
    """GridSample: three modes, three paddings, both corner rules; volumes from opset 20."""
    dims = 3 if case.opset >= 20 and case.chance(0.35) else 2
    modes = ["linear", "nearest", "cubic"]
    if case.opset < 20:
        modes = ["bilinear", "nearest", "bicubic"]
    kind = case.int(0, 1) if dims == 3 else case.index % 3
    padding = case.one([None, "zeros", "border", "reflection"])
    align = case.one([None, 0, 1])
    dtype = case.pick(f32=0.85, only=[F32, F16])
    extent = [case.int(2, 9 if dims == 2 else 5) for _ in range(dims)]
    batch = case.int(1, 2)
    x = case.data((batch, case.int(1, 3), *extent), dtype)
    out = [case.int(1, 6 if dims == 2 else 4) for _ in range(dims)]
    grid = case.rng.uniform(-1.3, 1.3, (batch, *out, dims)).astype(F32)
    if dtype == F16:
        grid = np.round(grid * 64) / 64
    for axis in range(dims):            # grid's last axis is x, y, z
        length = extent[dims - 1 - axis]
        g = grid[..., axis].astype(np.float64)
        point = (g + 1) / 2 * (length - 1) if align else ((g + 1) * length - 1) / 2
        near = np.abs(point - 0.5 - np.round(point - 0.5))
        bad = near < 1e-3 if kind == 1 else np.abs(point - np.round(point)) < 1e-5
        if dtype == F16 and kind == 1:
            bad = near < 1e-2
        grid[..., axis] = np.where(bad, g + 1 / 32, g)
        if np.any(bad) and kind == 1:
            raise Reject("a sample point near a tie")
    mode = modes[kind]
    default = kind == 0 and case.chance(0.5)
    case.node([case.input(x), case.param(grid.astype(dtype if dtype == F16 else F32), "grid", 0.7)],
              mode=None if default else mode, padding_mode=padding, align_corners=align)
    case.output(dtype)


BUILDERS.update(Resize=resize, Upsample=upsample, GridSample=grid_sample)
