"""The engines of bench/gpu_networks.py, each in a process of its own that lives as long as the run.

    gpu_engines.py KIND OPTIONS         KIND: osprey, compile, graph, tensorrt; OPTIONS: JSON

A command a line, an answer a line, in JSON: {"load": {...}} opens a network and answers with facts, or
with {"missing": why}; {"time": N} runs it N times and answers with the ms of each. On a GPU times are
between device events around a run, with the next run queued already, so that nothing of the host is in
them; inputs and outputs stay on the device. On a CPU (tests only) they are wall-clock times.
"""

import json
import os
import pathlib
import sys
import time
import traceback

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
WARM_S = 0.3            # runs before a measurement, until the clocks are up


def make_pixels(size, batch):
    """A structured image (smooth gradients, edges), shifted from row to row: uint8, N,H,W,C."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    image = np.stack([0.5 + 0.5 * np.sin(x / 37 + 1), 0.5 + 0.5 * np.cos(y / 23),
                      (x // 32 + y // 32) % 2], axis=2)
    pixels = np.round(255 * image).astype(np.uint8)
    return np.stack([np.roll(pixels, 37 * i, axis=1) for i in range(batch)])


def make_input(size, batch):
    """The same as float32 from 0 to 1: N,C,H,W."""
    return np.ascontiguousarray(make_pixels(size, batch).transpose(0, 3, 1, 2) / np.float32(255))


class Engine:
    """What all have in common. `run_timed` gives the ms of each of N runs."""

    def __init__(self, options):
        import torch
        self.torch, self.options = torch, options
        self.cuda = options["device"] == "cuda"

    def facts(self):
        """Printed beside the figures, once."""
        return {}

    def time(self, runs):
        """The ms of each of `runs` runs, warm."""
        until = time.perf_counter() + (WARM_S if self.cuda else 0)
        while True:
            self.run_timed(5 if self.cuda else 1)
            if time.perf_counter() >= until:
                return self.run_timed(runs)


class Torch(Engine):
    """The same network in PyTorch: half, channels last; a subclass says how it is run."""

    def __init__(self, options):
        super().__init__(options)
        self.torch.backends.cudnn.benchmark = True      # convolutions by measuring, as ours

    def module(self, what):
        """The module, and which one it is."""
        import onnx
        import onnx_to_torch
        model, peer = onnx.load(what["model"]), self.options["peer"]
        if peer != "onnx":
            try:
                return onnx_to_torch.authors(what["name"], model), "ultralytics"
            except ImportError as error:
                if peer == "authors":
                    raise
                print(f"gpu_engines: {error}: the file is converted instead", file=sys.stderr)
        shape = (what["batch"], 3, what["size"], what["size"])
        return onnx_to_torch.convert(model, shape), "converted from the file"

    def load(self, what):
        torch = self.torch
        self.run = None
        start = time.perf_counter()
        module, which = self.module(what)
        kind = torch.float16 if self.cuda else torch.float32
        module = module.to(self.options["device"], kind).to(memory_format=torch.channels_last)
        x = torch.from_numpy(make_input(what["size"], what["batch"]))
        self.x = x.to(self.options["device"], kind).to(memory_format=torch.channels_last)
        with torch.no_grad():
            first = self.prepare(module)
        np.save(what["output"], first[0].float().cpu().numpy())
        return {"seconds": time.perf_counter() - start, "network": which}

    def run_timed(self, runs):
        torch = self.torch
        with torch.no_grad():
            if not self.cuda:
                times = []
                for _ in range(runs):
                    start = time.perf_counter()
                    self.run()
                    times.append((time.perf_counter() - start) * 1e3)
                return times
            marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(runs)]
            for start, end in marks:
                start.record()
                self.run()
                end.record()
            torch.cuda.synchronize()
        return [start.elapsed_time(end) for start, end in marks]

    def facts(self):
        torch = self.torch
        found = {"PyTorch": torch.__version__}
        if self.cuda:
            found.update(CUDA=torch.version.cuda, cuDNN=str(torch.backends.cudnn.version()))
        return found

    def captured(self, run):
        """One CUDA graph of `run`, after runs that let libraries choose and allocate."""
        torch = self.torch
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.result = run()
        return graph


class Compiled(Torch):
    """torch.compile, mode reduce-overhead."""

    def prepare(self, module):
        torch = self.torch
        if not self.cuda:       # the compiler wants a C++ compiler and minutes: its front end alone
            compiled = torch.compile(module, backend="eager")
            self.run = lambda: compiled(self.x)
            return self.run()
        torch.compiler.reset()
        module(self.x)      # it keeps its anchors of this size: making them would break its graph apart
        compiled = torch.compile(module, mode="reduce-overhead")

        def run():
            torch.compiler.cudagraph_mark_step_begin()
            return compiled(self.x)

        self.run = run
        for _ in range(5):      # compiles, then records its graphs
            result = run()
        return result.clone()


class Graphed(Torch):
    """Eager, as one CUDA graph."""

    def prepare(self, module):
        if not self.cuda:
            self.run = lambda: module(self.x)
            return self.run()
        self.graph = self.captured(lambda: module(self.x))
        self.run = self.graph.replay
        self.run()
        return self.result.clone()


class TensorRT(Torch):
    """A plan that bench/tensorrt_plan.py has built, as one CUDA graph."""

    def __init__(self, options):
        super().__init__(options)
        self.trt, self.why = None, "it needs a GPU"
        if not self.cuda:
            return
        from tensorrt_plan import load_bindings
        try:
            self.trt = load_bindings(options["libs"])
        except (OSError, ImportError) as error:     # a library or the bindings are not here
            self.why = str(error)
            return
        self.logger = self.trt.Logger(self.trt.Logger.ERROR)
        self.runtime = self.trt.Runtime(self.logger)

    def load(self, what):
        torch = self.torch
        if not self.trt:
            return {"missing": self.why}
        from tensorrt_plan import plan_name
        plan = pathlib.Path(self.options["plans"]) / plan_name(what["name"], what["size"],
                                                               what["batch"])
        if not plan.exists():
            return {"missing": f"no {plan.name} in {plan.parent}"}
        start = time.perf_counter()
        engine = self.runtime.deserialize_cuda_engine(plan.read_bytes())
        if engine is None:
            return {"missing": f"{plan.name} is for another GPU or another TensorRT"}
        context = engine.create_execution_context()
        x = torch.from_numpy(make_input(what["size"], what["batch"])).cuda()
        self.kept = [engine, context, x]
        context.set_input_shape("images", tuple(x.shape))
        context.set_tensor_address("images", x.data_ptr())
        for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
            if name != "images":
                result = torch.zeros(tuple(context.get_tensor_shape(name)), device="cuda")
                context.set_tensor_address(name, result.data_ptr())
                self.kept.append(result)
        self.graph = self.captured(
            lambda: context.execute_async_v3(torch.cuda.current_stream().cuda_stream))
        self.run = self.graph.replay
        self.run()
        torch.cuda.synchronize()
        np.save(what["output"], self.kept[3][0].float().cpu().numpy())
        return {"seconds": time.perf_counter() - start}

    def facts(self):
        return {"TensorRT": self.trt.__version__} if self.trt else {}


class Osprey(Engine):
    """Ours: a session with two runs in flight, everything bound on the device."""

    session = None

    def load(self, what):
        from osprey_ctypes import Session
        if self.session:
            self.session.close()
        size, batch = what["size"], what["batch"]
        start = time.perf_counter()
        s = self.session = Session(
            self.options["library"], what["model"], size, size, batches=(batch,),
            precision="fp16" if self.cuda else "fp32", backend="cuda" if self.cuda else "cpu",
            cache_file=self.options.get("cache"))
        seconds = time.perf_counter() - start
        (name, _, dtype), = s.inputs()      # planes as the file has them, or pixels
        x = make_pixels(size, batch) if dtype == "uint8" else make_input(size, batch)
        x = self.torch.from_numpy(x).to(self.options["device"])
        self.tensors = [x]
        place = "device" if self.cuda else "host"
        s.bind(name, x.data_ptr(), tuple(x.shape), dtype, place)
        for name, shape, dtype in s.outputs():
            shape = tuple(batch if d == -1 else d for d in shape)
            made = self.torch.zeros(shape, dtype=getattr(self.torch, dtype),
                                    device=self.options["device"])
            s.bind(name, made.data_ptr(), shape, dtype, place)
            self.tensors.append(made)
        if self.cuda:
            self.torch.cuda.synchronize()
        s.wait(s.enqueue())
        np.save(what["output"], self.tensors[1][0].float().cpu().numpy())
        steps = s.steps()
        return {"seconds": seconds, "steps": len(steps), "ref": sum(t[2] == "ref" for t in steps)}

    def run_timed(self, runs):
        s, times = self.session, []
        flight = [s.enqueue()]
        for i in range(runs):
            if i + 1 < runs:
                flight.append(s.enqueue())
            times.append(s.wait(flight.pop(0)) / 1e3)
        return times

    def facts(self):
        from osprey_ctypes import version
        found = {"Osprey": version(self.options["library"])}
        if self.cuda:
            found["GPU"] = self.torch.cuda.get_device_name()
        return found


KINDS = {"osprey": Osprey, "compile": Compiled, "graph": Graphed, "tensorrt": TensorRT}


def serve(kind, options):
    """Answers commands until its input ends."""
    # Answers go where stdout was; what libraries print goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.insert(0, str(ROOT / "bench"))
    engine = KINDS[kind](options)
    print(json.dumps(engine.facts()), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = engine.load(command["load"]) if "load" in command else \
                engine.time(command["time"])
        except Exception as error:      # told to whoever asked, who goes on with the others
            traceback.print_exc()
            answer = {"missing": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
