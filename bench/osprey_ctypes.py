"""The few calls of libosprey that the benchmarks need, through ctypes: open or build, bind, run."""

import ctypes as c
import os

import numpy as np

RANK = 8
DTYPES = {1: np.float32, 4: np.int32, 5: np.int64, 6: np.uint8, 7: np.int8, 8: np.bool_}
PLACES = {"host": 0, "pinned": 1, "device": 2}
BACKENDS = {"auto": 0, "reference": 1, "cpu": 2, "cuda": 3, "tensorrt": 4}
PRECISIONS = {"auto": 0, "fp32": 1, "fp16": 2, "bf16": 3}


class Error(c.Structure):
    _fields_ = [("code", c.c_int), ("text", c.c_char * 508)]


class OspreyError(RuntimeError):
    """A call that failed; `code` is its osp_status."""

    DEVICE = 10

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class Options(c.Structure):
    """osp_options: only `threads` is set here."""

    _fields_ = [
        ("logger", c.c_void_p * 3),
        ("allocator", c.c_void_p * 4),
        ("limits", c.c_uint64 * 11),
        ("threads", c.c_int32),
        ("reserved32", c.c_int32),
        ("library_dir", c.c_void_p),
        ("reserved", c.c_uint64 * 6),
    ]


class Tensor(c.Structure):
    _fields_ = [
        ("name", c.c_char_p),
        ("dtype", c.c_int),
        ("rank", c.c_int32),
        ("dims", c.c_int64 * RANK),
        ("byte_strides", c.c_int64 * RANK),
        ("data", c.c_void_p),
        ("place", c.c_int),
        ("device", c.c_int32),
    ]


class ImageInput(c.Structure):
    _fields_ = [
        ("format", c.c_int),
        ("reserved32", c.c_int32),
        ("mean", c.c_float * 3),
        ("scale", c.c_float * 3),
    ]


class EngineOptions(c.Structure):
    _fields_ = [
        ("backend", c.c_int),
        ("device", c.c_int32),
        ("precision", c.c_int),
        ("batches", c.c_int32 * 8),
        ("height", c.c_int32),
        ("width", c.c_int32),
        ("workspace_bytes", c.c_uint64),
        ("builder_level", c.c_int32),
        ("tolerance", c.c_float),
        ("cache_file", c.c_char_p),
        ("keep_fp32", c.c_void_p),
        ("keep_fp32_count", c.c_int32),
        ("fixed_input_count", c.c_int32),
        ("fixed_inputs", c.c_void_p),
        ("head", c.c_int),
        ("resize", c.c_int),
        ("trust", c.c_int),
        ("borrow", c.c_int),
        ("progress", c.c_void_p * 2),
        ("image_input", ImageInput),
        ("reserved", c.c_uint64 * 2),
    ]


class StepInfo(c.Structure):
    _fields_ = [
        ("name", c.c_char_p),
        ("op", c.c_char_p),
        ("tactic", c.c_char_p),
        ("problem", c.c_char_p),
        ("flops", c.c_double),
        ("bytes", c.c_double),
    ]


class TensorInfo(c.Structure):
    _fields_ = [
        ("name", c.c_char_p),
        ("dtype", c.c_int),
        ("rank", c.c_int32),
        ("dims", c.c_int64 * RANK),
        ("dim_names", c.c_char_p * RANK),
        ("determines_shapes", c.c_bool),
    ]


class RunStats(c.Structure):
    _fields_ = [
        ("pre_us", c.c_double),
        ("copy_us", c.c_double),
        ("infer_us", c.c_double),
        ("post_us", c.c_double),
        ("variant", c.c_int32),
        ("n", c.c_int32),
    ]


def load_library(path):
    """A library; what it needs and the loader does not find is taken from its folder, as a bundle
    has it. LD_LIBRARY_PATH would make the loader prefer those for everything in this process."""
    tried = set()
    while True:
        try:
            return c.CDLL(path)
        except OSError as error:        # "libdnnl.so.3: cannot open shared object file: ..."
            needed = os.path.join(os.path.dirname(path), str(error).split(":")[0])
            if needed in tried or needed == path or not os.path.exists(needed):
                raise
            tried.add(needed)
            load_library(needed)


def version(library):
    """The library's version, as text."""
    number = load_library(library).osp_version()
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


class Session:
    """An engine of one model and a session on it. `cache_file`: a timing cache."""

    def __init__(self, library, model, height, width, precision="fp32", backend="cpu", threads=0,
                 batches=(), cache_file=None):
        self.lib = load_library(library)
        self.err = Error()
        self.runtime, self.engine, self.session = c.c_void_p(), c.c_void_p(), c.c_void_p()
        onnx = c.c_void_p()
        version = self.lib.osp_version()
        options = Options(threads=threads)
        self._check(self.lib.osp_runtime_open_version(
            c.byref(self.runtime), c.byref(options), version, c.byref(self.err)))
        self._check(self.lib.osp_model_open(
            c.byref(onnx), self.runtime, model.encode(), c.byref(self.err)))
        build = EngineOptions(backend=BACKENDS[backend], precision=PRECISIONS[precision],
                              height=height, width=width,
                              cache_file=cache_file.encode() if cache_file else None)
        build.batches[:len(batches)] = batches
        self._check(self.lib.osp_engine_build(
            c.byref(self.engine), onnx, c.byref(build), c.byref(self.err)))
        self.lib.osp_model_close(c.byref(onnx))
        self._check(self.lib.osp_session_open(
            c.byref(self.session), self.engine, None, c.byref(self.err)))

    def _check(self, status):
        if status:
            raise OspreyError(status, self.err.text.decode())

    def run(self, image, outputs):
        """`image`: float32 N,C,H,W. Returns views of the first `outputs` outputs."""
        src = Tensor(dtype=1, rank=image.ndim, data=image.ctypes.data)
        src.dims[:image.ndim] = image.shape
        dst = (Tensor * outputs)()
        self._check(self.lib.osp_session_run(self.session, c.byref(src), 1, dst, outputs,
                                             c.byref(self.err)))
        return [self._view(t) for t in dst]

    def _infos(self, get):
        found, info = [], TensorInfo()
        while get(self.engine, len(found), c.byref(info)) == 0:
            found.append((info.name.decode(), tuple(info.dims[:info.rank]),
                          np.dtype(DTYPES[info.dtype]).name))
        return found

    def inputs(self):
        """(name, dims with -1 where free, name of the type) of all inputs, in the engine's order."""
        return self._infos(self.lib.osp_engine_input)

    def outputs(self):
        """The same of all outputs."""
        return self._infos(self.lib.osp_engine_output)

    def output_names(self):
        """All outputs of the engine, in its order."""
        return [name for name, _, _ in self.outputs()]

    def bind(self, name, address, shape, dtype="float32", place="host"):
        """Fixes where an input or output lies, until the session closes: dense, C order."""
        code = next(k for k, v in DTYPES.items() if np.dtype(v) == np.dtype(dtype))
        tensor = Tensor(name=name.encode(), dtype=code, rank=len(shape), data=address,
                        place=PLACES[place])
        tensor.dims[:len(shape)] = shape
        self._check(self.lib.osp_session_bind(self.session, c.byref(tensor), 1, c.byref(self.err)))

    def enqueue(self):
        """Starts a run of what is bound; its ticket."""
        ticket = c.c_uint64()
        self._check(self.lib.osp_session_enqueue(self.session, None, 0, None, 0, c.byref(ticket),
                                                 c.byref(self.err)))
        return ticket

    def wait(self, ticket):
        """Waits for a run; the us that the network took, on a GPU by its own clock."""
        stats = RunStats()
        self._check(self.lib.osp_session_wait(self.session, ticket, c.c_int64(-1), None, 0,
                                              c.byref(self.err)))
        self.lib.osp_session_stats(self.session, c.byref(stats))
        return stats.infer_us

    def close(self):
        self.lib.osp_session_close(c.byref(self.session))
        self.lib.osp_engine_close(c.byref(self.engine))
        self.lib.osp_runtime_close(c.byref(self.runtime))

    @staticmethod
    def _view(tensor):
        shape = list(tensor.dims)[:tensor.rank]
        dtype = np.dtype(DTYPES[tensor.dtype])
        count = int(np.prod(shape)) * dtype.itemsize
        raw = (c.c_uint8 * count).from_address(tensor.data)
        return np.frombuffer(raw, dtype).reshape(shape)

    def steps(self, variant=0):
        """(name, operator, tactic, problem text, flops, bytes) of each step of a variant."""
        found, step = [], StepInfo()
        while self.lib.osp_engine_step(self.engine, variant, len(found), c.byref(step)) == 0:
            found.append((step.name.decode(), step.op.decode(), step.tactic.decode(),
                          step.problem.decode(), step.flops, step.bytes))
        return found

    def flops(self):
        """Of all steps of the first variant; a multiply-add counts two."""
        return sum(step[4] for step in self.steps())
