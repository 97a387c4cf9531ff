"""Reductions and normalisations: Reduce*, Softmax, TopK, LayerNormalization, BatchNormalization."""

import numpy as np

from case import F16, F32, I64

BUILDERS = {}


def reduce(case):
    """ReduceMax, ReduceMean, ReduceSum: axes by attribute or by input, depending on the opset."""
    dtype = case.pick()
    x = case.data(case.shape(zero=0.0), dtype)
    rank = x.ndim
    axes = None
    if rank and case.chance(0.85):
        axes = case.rng.permutation(rank)[:case.int(1, rank)]
        axes = [int(a) for a in axes]
        if case.opset >= 11:
            axes = [a - rank if case.chance(0.4) else a for a in axes]
    keep = case.one([None, 0, 1])
    by_input = case.opset >= (13 if case.op == "ReduceSum" else 18)
    names, attributes = [case.input(x)], {"keepdims": keep}
    noop = False
    if by_input:
        if axes is not None:
            names.append(case.param(np.array(axes, I64), "axes"))
            attributes["noop_with_empty_axes"] = case.one([None, 0, 1])
        elif case.chance(0.6):
            noop = case.chance(0.5)
            attributes["noop_with_empty_axes"] = int(noop)
            if case.chance(0.6):
                names.append(case.param(np.zeros((0,), I64), "axes"))
    else:
        attributes["axes"] = axes
    case.node(names, **attributes)
    case.output(dtype)

    def answer():
        if noop:
            return [x]
        function = {"ReduceMax": np.max, "ReduceMean": np.mean, "ReduceSum": np.sum}[case.op]
        wide = x.astype(F32) if dtype == F16 else x
        y = function(wide, axis=None if axes is None else tuple(axes), keepdims=keep != 0)
        return [np.asarray(y).astype(dtype)]
    case.answer = answer


def softmax(case):
    """Softmax: flattens to two dimensions up to opset 12."""
    dtype = case.pick()
    x = case.data(case.shape(1 if case.opset < 13 else 1, 6, zero=0), dtype, -5, 5)
    low = -x.ndim if case.opset >= 11 else 0
    axis = case.one([None, case.int(low, x.ndim - 1), case.int(low, x.ndim - 1)])
    if axis is None and case.opset < 13 and x.ndim < 2:
        axis = 0
    case.node([case.input(x)], axis=axis)
    case.output(dtype)

    def answer():
        wide = x.astype(np.float64)
        if case.opset >= 13:
            e = np.exp(wide - wide.max(axis=-1 if axis is None else axis, keepdims=True))
            return [(e / e.sum(axis=-1 if axis is None else axis, keepdims=True)).astype(dtype)]
        at = 1 if axis is None else axis % x.ndim
        flat = wide.reshape(int(np.prod(x.shape[:at])), -1)
        e = np.exp(flat - flat.max(axis=1, keepdims=True))
        return [(e / e.sum(axis=1, keepdims=True)).reshape(x.shape).astype(dtype)]
    case.answer = answer


def topk(case):
    """TopK without ties; unsorted only with k = 1, since its order is free otherwise."""
    dtype = case.pick()
    x = case.distinct(case.shape(1, 5, elems=400, zero=0), dtype)
    axis = case.one([None, case.int(-x.ndim if case.opset >= 11 else 0, x.ndim - 1)])
    if case.opset < 11 and axis is None:
        axis = case.one([None, x.ndim - 1])
    length = x.shape[-1 if axis is None else axis]
    k = case.int(1, length)
    attributes, names = {"axis": axis}, [case.input(x)]
    if case.opset < 10:
        attributes["k"] = k
    else:
        names.append(case.param(np.array([k], I64), "k"))
    largest = 1
    if case.opset >= 11:
        attributes["largest"] = case.one([None, 0, 1])
        largest = 1 if attributes["largest"] is None else attributes["largest"]
        attributes["sorted"] = case.one([None, 1, 0 if k == 1 else 1])
    case.node(names, ("y", "indices"), **attributes)
    case.output(dtype)
    case.output(I64, "indices")

    def answer():
        at = -1 if axis is None else axis
        order = np.argsort(-x.astype(np.float64) if largest else x, axis=at, kind="stable")
        indices = np.take(order, range(k), axis=at).astype(I64)
        return [np.take_along_axis(x, indices, axis=at), indices]
    case.answer = answer


def layer_normalization(case):
    """LayerNormalization with one, two or all three outputs, and an optional bias."""
    dtype = case.pick()
    shape = tuple(d if i < 5 else 1 for i, d in enumerate(case.shape(1, 5, zero=0)))
    axis = case.one([None, case.int(-len(shape), len(shape) - 1)])
    at = len(shape) - 1 if axis is None else axis % len(shape)
    if int(np.prod(shape[at:])) < 2:
        shape = shape[:-1] + (case.int(2, 9),)
    x = case.data(shape, dtype, -3, 3)
    suffix = shape[at:]
    scale, bias = case.data(suffix, dtype, 0.5, 1.5), case.data(suffix, dtype, -1, 1)
    names = [case.input(x), case.param(scale, "scale", 0.2)]
    if case.chance(0.7):
        names.append(case.param(bias, "bias", 0.2))
    outputs = ("y", "mean", "inverse")[:case.one([1, 1, 2, 3, 3])]
    epsilon = case.one([None, 1e-3, 1e-2])
    case.node(names, outputs, axis=axis, epsilon=epsilon,
              stash_type=case.one([None, 1]))
    case.output(dtype)
    for name in outputs[1:]:
        case.output(F32, name)

    def answer():
        wide = x.astype(np.float64)
        axes = tuple(range(at, x.ndim))
        mean = wide.mean(axis=axes, keepdims=True)
        inverse = 1 / np.sqrt(wide.var(axis=axes, keepdims=True)
                              + (1e-5 if epsilon is None else epsilon))
        y = (wide - mean) * inverse * scale.astype(np.float64)
        if len(names) > 2:
            y = y + bias.astype(np.float64)
        return [v.astype(F32) for v in (y, mean, inverse)][:len(outputs)]
    case.answer = answer


def batch_normalization(case):
    """BatchNormalization for inference; its statistics may be of another type from opset 15."""
    dtype = case.pick()
    shape = case.shape(2, 5, zero=0)
    channels = shape[1]
    other = F32 if case.opset >= 15 and dtype == F16 and case.chance(0.6) else dtype
    stats = other
    x = case.data(shape, dtype)
    scale, bias = case.data((channels,), other, 0.5, 1.5), case.data((channels,), other, -1, 1)
    mean = case.data((channels,), stats, -1, 1)
    variance = case.data((channels,), stats, 0.3, 2)
    as_input = 0.3 if case.chance(0.3) else 0
    names = [case.input(x)] + [case.param(v, "s", as_input) for v in (scale, bias, mean, variance)]
    epsilon = case.one([None, 1e-3, 1e-2])
    attributes = {"epsilon": epsilon, "momentum": case.one([None, 0.7])}
    if case.opset < 7:
        attributes["is_test"] = 1
    if case.opset < 9:
        attributes["spatial"] = case.one([None, 1])
    if case.opset >= 14:
        attributes["training_mode"] = case.one([None, 0])
    case.node(names, **attributes)
    case.output(dtype)

    def answer():
        along = (-1,) + (1,) * (x.ndim - 2)
        s, b, m, v = (a.astype(np.float64).reshape(along) for a in (scale, bias, mean, variance))
        e = 1e-5 if epsilon is None else epsilon
        return [((x.astype(np.float64) - m) / np.sqrt(v + e) * s + b).astype(F32)]
    case.answer = answer


BUILDERS.update(ReduceMax=reduce, ReduceMean=reduce, ReduceSum=reduce, Softmax=softmax, TopK=topk,
                LayerNormalization=layer_normalization, BatchNormalization=batch_normalization)
