"""Element-wise operators: unary, binary with both kinds of broadcasting, variadic, Where, Cast."""

import numpy as np

from case import BOOL, F16, F32, I32, I64, I8, U8, Reject

FLOATS = (F32, F16)
BUILDERS = {}


def _binary_shapes(case, zero=0.03):
    """Two shapes that broadcast to each other in NumPy's way."""
    full = case.shape(zero=zero)
    a, b = list(full), list(full)
    for i in range(len(full)):
        roll = case.rng.random()
        if roll < 0.2:
            a[i] = 1
        elif roll < 0.4:
            b[i] = 1
    cut = case.int(0, len(full)) if case.chance(0.4) else 0
    (a, b)[case.int(0, 1)][:cut] = []
    return tuple(a), tuple(b)


def _attribute_broadcast(case):
    """Opset 6: (shape a, shape b, attributes, b aligned to a's rank)."""
    a = case.shape(1, 5, zero=0)
    kind = case.one(["same", "scalar", "suffix", "axis"])
    if kind == "same":
        return a, a, {}, a
    if kind == "scalar":
        return a, case.one([(), (1,)]), {"broadcast": 1}, (1,) * len(a)
    length = case.int(1, len(a))
    start = len(a) - length if kind == "suffix" else case.int(0, len(a) - length)
    b = a[start:start + length]
    attributes = {"broadcast": 1}
    if kind == "axis":
        attributes["axis"] = start
    return a, b, attributes, (1,) * start + b + (1,) * (len(a) - start - length)


def _divide(a, b):
    """Division as in C for integers."""
    return np.trunc(a.astype(np.float64) / b) if a.dtype.kind in "iu" else a / b


def _operands(case, shape_a, shape_b, dtype):
    """Contents suited to the operator."""
    a, b = case.data(shape_a, dtype), case.data(shape_b, dtype)
    if case.op == "Div":
        if dtype.kind == "f":
            b = (np.sign(b) * (np.abs(b) + 0.4) + (b == 0)).astype(dtype)
        else:
            b = np.where(b == 0, 3, b).astype(dtype)
            a = case.data(shape_a, dtype, -12, 12)
    elif case.op == "Sub" and dtype == U8:
        a, b = a + U8.type(10), b
    elif case.op == "Equal":
        b = np.where(case.rng.random(b.shape) < 0.3, b, case.data(shape_b, dtype)).astype(dtype)
        if dtype.kind == "f":
            a, b = np.round(a).astype(dtype), np.round(b).astype(dtype)
    return a, b


FUNCTIONS = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divide, "Equal": np.equal,
    "Less": np.less, "Greater": np.greater, "And": np.logical_and, "Xor": np.logical_xor,
    "Pow": np.power,
}


def binary(case):
    """Add Sub Mul Div Equal Less Greater And Xor."""
    dtype = case.pick()
    compare = case.op in ("Equal", "Less", "Greater", "And", "Xor")
    attributes = {}
    if case.opset < 7:
        shape_a, shape_b, attributes, aligned = _attribute_broadcast(case)
    else:
        shape_a, shape_b = _binary_shapes(case)
        aligned = shape_b
    a, b = _operands(case, shape_a, shape_b, dtype)
    name_a = case.input(a)
    name_b = name_a if case.opset >= 7 and case.chance(0.05) else case.param(b, as_input=0.7)
    if name_b == name_a:
        b, aligned = a, a.shape
        if case.op == "Div" and not np.all(np.abs(a) > 0.3):
            raise Reject("division by zero")
    out = BOOL if compare else dtype
    case.node([name_a, name_b], **attributes)
    case.output(out)
    wide = (lambda v: v.astype(F32)) if dtype == F16 else (lambda v: v)
    case.answer = lambda: [np.asarray(FUNCTIONS[case.op](wide(a), wide(b).reshape(aligned)))
                           .astype(out)]


def power(case):
    """Pow: bases above zero, or whole exponents; mixed types from opset 12."""
    dtype = case.pick()
    if dtype.kind == "f" and case.chance(0.6):
        low, exponent_range = 0.2, (-2.5, 2.5)
    else:
        low, exponent_range = -3, (0, 1)
    other = dtype
    if case.opset >= 12 and case.chance(0.4):
        other = case.pick(1, only=[F32, I32, I64])
        if dtype.kind != "f" and other.kind == "f":
            other = I64
    attributes = {}
    if case.opset < 7:
        shape_a, shape_b, attributes, aligned = _attribute_broadcast(case)
    else:
        shape_a, shape_b = _binary_shapes(case)
        aligned = shape_b
    a = case.data(shape_a, dtype, low, 3.0)
    b = case.data(shape_b, other, *exponent_range)
    if low < 0:
        b = np.asarray(case.rng.integers(0, 4, shape_b)).astype(other)
    case.node([case.input(a), case.param(b, as_input=0.6)], **attributes)
    case.output(dtype)
    case.answer = lambda: [np.asarray(np.power(a.astype(np.float64), b.astype(np.float64)
                                               .reshape(aligned))).astype(dtype)]


def unary(case):
    """The one-input operators that have no attribute, or simple ones."""
    op = case.op
    dtype = case.pick(only=FLOATS if op in ("Erf", "Exp", "Sqrt", "Log", "Floor") else None)
    low, high = {"Exp": (-5, 5), "Sqrt": (0.01, 50), "Log": (0.05, 50), "Sin": (-10, 10),
                 "Cos": (-10, 10), "Sigmoid": (-8, 8), "Tanh": (-5, 5), "HardSigmoid": (-6, 6),
                 "HardSwish": (-5, 5), "Gelu": (-5, 5)}.get(op, (-4, 4))
    x = case.data(case.shape(), dtype, low, high)
    attributes = {}
    if op == "LeakyRelu" and case.chance(0.7):
        attributes["alpha"] = float(case.rng.uniform(-0.5, 1.5))
    if op == "HardSigmoid" and case.chance(0.7):
        attributes["alpha"] = float(case.rng.uniform(0.05, 0.6))
        if case.chance(0.7):
            attributes["beta"] = float(case.rng.uniform(0.1, 0.9))
    if op == "Gelu" and case.chance(0.7):
        attributes["approximate"] = case.one(["none", "tanh"])
    case.node([case.input(x)], **attributes)
    case.output(dtype)
    if op == "Relu":
        case.answer = lambda: [np.maximum(x, 0).astype(dtype)]


def clip(case):
    """Clip: bounds by attribute up to opset 10, by optional input from 11."""
    dtype = case.pick()
    x = case.data(case.shape(), dtype, -4, 4)
    low, high = sorted(case.data((2,), dtype, -3, 3))
    use_low, use_high = case.chance(0.75), case.chance(0.75)
    if case.opset < 11:
        case.node([case.input(x)], min=float(low) if use_low else None,
                  max=float(high) if use_high else None)
    else:
        names = [case.input(x)]
        names.append(case.param(np.asarray(low), "min", 0.2) if use_low else "")
        names.append(case.param(np.asarray(high), "max", 0.2) if use_high else "")
        while names[-1] == "":
            names.pop()
        case.node(names)
    case.output(dtype)

    def answer():
        y = np.maximum(x, low) if use_low else x
        return [np.asarray(np.minimum(y, high) if use_high else y).astype(dtype)]
    case.answer = answer


def variadic(case):
    """Min and Max: equal shapes up to opset 7, broadcasting from 8."""
    dtype = case.pick()
    count = case.int(1, 4)
    if case.opset < 8:
        shapes = [case.shape()] * count
    else:
        full = case.shape()
        shapes = []
        for _ in range(count):
            shape = [1 if case.chance(0.2) else d for d in full]
            shapes.append(tuple(shape[case.int(0, len(shape)):] if case.chance(0.2) else shape))
    arrays = [case.data(s, dtype) for s in shapes]
    case.node([case.input(a) if i == 0 else case.param(a, as_input=0.7)
               for i, a in enumerate(arrays)])
    case.output(dtype)

    def answer():
        function = np.minimum if case.op == "Min" else np.maximum
        result = arrays[0]
        for other in arrays[1:]:
            result = function(result, other)
        return [result]
    case.answer = answer


def modulo(case):
    """Mod: sign of the divisor for integers, of the dividend with fmod=1 (always for floats)."""
    dtype = case.pick(f32=0.35)
    shape_a, shape_b = _binary_shapes(case)
    a, b = case.data(shape_a, dtype, -20, 20), case.data(shape_b, dtype)
    fmod = 1 if dtype.kind == "f" or case.chance(0.4) else case.one([None, 0])
    if dtype.kind == "f":
        b = (np.sign(b) * (np.abs(b) + 0.5) + (b == 0)).astype(dtype)
    else:
        b = np.where(b == 0, 3, b).astype(dtype)
    case.node([case.input(a), case.param(b, as_input=0.6)], fmod=fmod)
    case.output(dtype)
    case.answer = lambda: [np.asarray((np.fmod if fmod else np.mod)(a, b)).astype(dtype)]


def logical_not(case):
    """Not."""
    case.node([case.input(case.data(case.shape(), BOOL))])
    case.output(BOOL)


def where(case):
    """Where: three shapes that broadcast to each other."""
    dtype = case.pick(1)
    full = case.shape()
    shapes = [tuple(1 if case.chance(0.2) else d for d in full) for _ in range(3)]
    shapes = [s[case.int(0, len(s)):] if case.chance(0.25) else s for s in shapes]
    condition = case.data(shapes[0], BOOL)
    x, y = case.data(shapes[1], dtype), case.data(shapes[2], dtype)
    case.node([case.input(condition), case.param(x, as_input=0.7), case.param(y, as_input=0.7)])
    case.output(dtype)
    case.answer = lambda: [np.where(condition, x, y)]


def cast(case):
    """Cast between every pair of types, only with values that the destination can hold."""
    types = case.types()
    source, target = case.one(types), case.one(types)
    if case.index % 3 == 0:
        source = F32
    if target == U8 or source == U8:
        x = np.abs(case.data(case.shape(), I32, -40, 40)).astype(source)
    elif source.kind == "f":
        x = case.data(case.shape(), source, -100, 100)
    else:
        x = case.data(case.shape(), source, -40, 40)
    if source.kind == "f" and target == BOOL:
        x[np.asarray(case.rng.random(x.shape)) < 0.4] = 0
    attributes = {"saturate": case.one([0, 1])} if case.opset >= 19 and case.chance(0.3) else {}
    codes = {F32: 1, U8: 2, I8: 3, I32: 6, I64: 7, BOOL: 9, F16: 10}
    case.node([case.input(x)], to=codes[target], **attributes)
    case.output(target)
    case.widen = False
    case.answer = lambda: [x.astype(target)]


def identity(case):
    """Identity."""
    dtype = case.pick(f32=0.3)
    case.node([case.input(case.data(case.shape(), dtype))])
    case.output(dtype)


for _op in ("Add", "Sub", "Mul", "Div", "Equal", "Less", "Greater", "And", "Xor"):
    BUILDERS[_op] = binary
for _op in ("Relu", "LeakyRelu", "Sigmoid", "Exp", "Tanh", "Erf", "Sqrt", "Sin", "Cos", "Log",
            "Floor", "HardSigmoid", "HardSwish", "Gelu"):
    BUILDERS[_op] = unary
BUILDERS.update(Pow=power, Clip=clip, Min=variadic, Max=variadic, Mod=modulo, Not=logical_not,
                Where=where, Cast=cast, Identity=identity)
