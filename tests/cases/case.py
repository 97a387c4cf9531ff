"""One operator case: a tiny ONNX model, its inputs, and who computes the expected outputs.

A builder (families/*.py) fills a Case: inputs, parameters, nodes, outputs. A parameter is a value
whose contents decide shapes or that a real model would store; it becomes an initializer, a Constant
node or a graph input, chosen by the case's own random stream.

Oracles, in order: ONNX Runtime with graph optimisations off; the builder's own numpy answer;
onnx.reference. A builder that knows ONNX Runtime to deviate from the specification names another
oracle first. A model with float16 values is widened to float32, run, and its outputs rounded once.
"""

import zlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, checker, defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

LAST_OPSET = 22
FIRST_OPSET = 6
DTYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int32)": np.int32,
    "tensor(int64)": np.int64, "tensor(bool)": np.bool_, "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
}
F32, F16, I32, I64, BOOL, U8, I8 = (np.dtype(t) for t in DTYPES.values())
IR_OF_OPSET = {**{o: 3 for o in (6, 7, 8)}, 9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8,
               17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10}


class Reject(Exception):
    """The random draw is unusable (illegal, ill-conditioned, too large): draw again."""


def steps_of(op):
    """[(since_version, first opset, last opset)] of every definition in force within 6..22."""
    schemas = [s for s in defs.get_all_schemas_with_history() if s.name == op and s.domain == ""]
    schemas.sort(key=lambda s: s.since_version)
    steps = []
    for i, schema in enumerate(schemas):
        end = schemas[i + 1].since_version - 1 if i + 1 < len(schemas) else LAST_OPSET
        first, last = max(schema.since_version, FIRST_OPSET), min(end, LAST_OPSET)
        if first <= last and not schema.deprecated:
            steps.append((schema.since_version, first, last))
    return steps


class Case:
    """The state of one case while a builder fills it."""

    def __init__(self, op, since, opset, index, attempt):
        self.op, self.since, self.opset, self.index = op, since, opset, index
        seed = zlib.crc32(f"{op}/{since}/{index}/{attempt}".encode())
        self.rng = np.random.default_rng(seed)
        self.schema = defs.get_schema(op, opset, "")
        self.inputs, self.inits, self.constants, self.nodes, self.outputs = [], [], [], [], []
        self.answer = None          # callable -> list of arrays: the builder's own numpy oracle
        self.prefer = "onnxruntime"  # the oracle to ask first
        self.widen = True           # float16 is computed in float32
        self.note = ""              # why another oracle was preferred

    # Random choices

    def chance(self, p):
        """True with probability p."""
        return bool(self.rng.random() < p)

    def one(self, items):
        """One of the items, each as likely."""
        return items[int(self.rng.integers(len(items)))]

    def int(self, low, high):
        """An integer in low..high, both included."""
        return int(self.rng.integers(low, high + 1))

    def types(self, position=0):
        """The supported element types that input `position` may have at this opset."""
        allowed = self.schema.inputs[position].types
        return [np.dtype(t) for name, t in DTYPES.items() if name in allowed]

    def pick(self, position=0, only=None, f32=0.6):
        """An element type for input `position`: float32 mostly, where it is allowed."""
        types = [t for t in self.types(position) if only is None or t in only]
        if F32 in types and (len(types) == 1 or self.chance(f32)):
            return F32
        return self.one([t for t in types if t != F32] or types)

    def shape(self, low=0, high=6, elems=1500, zero=0.03):
        """A random shape of rank low..high with at most about `elems` elements."""
        rank = self.int(low, high)
        if high >= 6 and self.chance(0.04):
            rank = 8
        if rank == 0:
            return ()
        top = max(1, min(12, int(elems ** (1 / rank) * 1.5)))
        while True:
            shape = [self.int(1, top) for _ in range(rank)]
            if np.prod(shape) <= elems:
                break
        if self.chance(zero):
            shape[self.int(0, rank - 1)] = 0
        return tuple(shape)

    def data(self, shape, dtype=F32, low=-3.0, high=3.0):
        """Random contents: floats in low..high, small integers otherwise."""
        dtype = np.dtype(dtype)
        if dtype == BOOL:
            return self.rng.random(shape) < 0.5
        if dtype.kind == "f":
            return np.asarray(self.rng.uniform(low, high, shape)).astype(dtype)
        low, high = 0 if dtype == U8 else int(np.floor(low * 3)), int(np.ceil(high * 3))
        return np.asarray(self.rng.integers(low, high + 1, shape)).astype(dtype)

    def distinct(self, shape, dtype=F32):
        """Contents without ties."""
        count = int(np.prod(shape))
        dtype = np.dtype(dtype)
        if dtype in (U8, I8) and count > 250:
            raise Reject("too many elements to be distinct")
        values = self.rng.permutation(count)
        if dtype == F16 and count > 1000:
            raise Reject("too many elements to be distinct")
        if dtype.kind == "f":
            values = values * (6.0 / max(count, 1)) - 3 if dtype == F32 else values / 64.0 - 6
        elif dtype != U8:
            values = values - count // 2
        return values.astype(dtype).reshape(shape)

    # Building

    def _name(self, prefix):
        taken = len(self.inputs) + len(self.inits) + len(self.constants)
        return f"{prefix}{taken}"

    def input(self, array, prefix="x"):
        """A graph input."""
        name = self._name(prefix)
        self.inputs.append((name, np.asarray(array)))
        return name

    def const(self, array, prefix="c"):
        """A value stored in the model: initializer or Constant node."""
        name = self._name(prefix)
        array = np.asarray(array)
        node = self.chance(0.35) and (self.opset >= 9 or array.dtype.kind == "f")
        (self.constants if node else self.inits).append((name, array))
        return name

    def param(self, array, prefix="p", as_input=0.3):
        """A parameter: stored, or a graph input."""
        return self.input(array, prefix) if self.chance(as_input) else self.const(array, prefix)

    def node(self, inputs, outputs=("y",), op=None, **attributes):
        """Appends a node; attributes that are None are left out."""
        attributes = {k: v for k, v in attributes.items() if v is not None}
        node = helper.make_node(op or self.op, list(inputs), list(outputs), **attributes)
        self.nodes.append(node)

    def output(self, dtype, name="y"):
        """Declares a graph output."""
        self.outputs.append((name, np.dtype(dtype)))

    def _tensor(self, name, array, typed):
        if not typed:
            return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return helper.make_tensor(name, kind, array.shape, array.flatten())

    def model(self, shapes):
        """The ModelProto; `shapes` are the outputs' shapes, or None to leave them out."""
        def info(name, dtype, shape):
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            return helper.make_tensor_value_info(name, kind, shape)

        typed = self.index % 5 == 3     # typed fields instead of raw_data
        inits = [self._tensor(n, a, typed) for n, a in self.inits]
        constants = [helper.make_node("Constant", [], [n], value=self._tensor("", a, typed))
                     for n, a in self.constants]
        inputs = [info(n, a.dtype, a.shape) for n, a in self.inputs]
        ir = IR_OF_OPSET[self.opset]
        if ir < 4:                      # initializers are graph inputs too before IR 4
            inputs += [info(n, a.dtype, a.shape) for n, a in self.inits]
        outputs = [info(n, t, shapes[i] if shapes else None)
                   for i, (n, t) in enumerate(self.outputs)]
        graph = helper.make_graph(constants + self.nodes, "case", inputs, outputs, inits)
        return helper.make_model(graph, ir_version=ir, producer_name="osprey-cases",
                                 opset_imports=[helper.make_opsetid("", self.opset)])

    # Expected outputs

    def expect(self, model, oracle):
        """The outputs by one named oracle, or None when it cannot run this model."""
        if oracle == "numpy":
            return None if self.answer is None else list(self.answer())
        feeds = dict(self.inputs)
        half = self.widen and any(t == F16 for t in self._dtypes())
        if half:
            model = widened(model)
            feeds = {n: a.astype(F32) if a.dtype == F16 else a for n, a in feeds.items()}
        run = run_ort if oracle == "onnxruntime" else run_reference
        return run(model, feeds)

    def _dtypes(self):
        arrays = self.inputs + self.inits + self.constants
        return [a.dtype for _, a in arrays] + [t for _, t in self.outputs]

    def rounded(self, values):
        """The outputs in their declared types."""
        result = []
        for (name, dtype), value in zip(self.outputs, values, strict=True):
            value = np.asarray(value)
            if value.dtype != dtype and not (dtype.kind == "f" and value.dtype.kind == "f"):
                raise TypeError(f"{self.op}: output {name} is {value.dtype}, declared {dtype}")
            result.append(value.astype(dtype))
        return result

    def order(self):
        """The oracles in the order in which they are asked."""
        rest = [o for o in ("onnxruntime", "numpy", "reference") if o != self.prefer]
        return [self.prefer] + rest


def widened(model):
    """A copy of the model with every float16 value made float32."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph

    def tensor(proto):
        if proto.data_type == TensorProto.FLOAT16:
            array = numpy_helper.to_array(proto).astype(F32)
            proto.CopyFrom(numpy_helper.from_array(array, proto.name))

    for proto in graph.initializer:
        tensor(proto)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                tensor(attribute.t)
    for info in list(graph.input) + list(graph.output):
        if info.type.tensor_type.elem_type == TensorProto.FLOAT16:
            info.type.tensor_type.elem_type = TensorProto.FLOAT
    return model


def run_ort(model, feeds):
    """Outputs by ONNX Runtime on the CPU, or None where it has no kernel for the model."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options,
                                       providers=["CPUExecutionProvider"])
        return session.run(None, feeds)
    except Exception:       # its exception types are not stable between releases
        return None


def run_reference(model, feeds):
    """Outputs by onnx.reference, or None where it cannot run the model."""
    try:
        with np.errstate(all="ignore"):
            return ReferenceEvaluator(model).run(None, feeds)
    except Exception:       # numpy errors of every kind
        return None


def check(model):
    """Asserts that the model is valid by ONNX's own checker."""
    checker.check_model(model, full_check=True)


def sane(values):
    """True where every value is finite and of moderate size."""
    for value in values:
        if value.dtype.kind == "f" and value.size:
            if not np.isfinite(value).all() or np.abs(value).max() > 3e4:
                return False
    return True
