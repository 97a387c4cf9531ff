"""Trains the detector on scenes that are rendered while it trains.

    python train.py --seconds 560 --out RUN [--resume RUN_BEFORE] [--first 40000]

Renderer processes fill a pool of scenes in shared memory; training copies the
pool to the GPU as it grows and draws batches from it.  The learning rate
follows the share of the time that has passed, so a run always ends annealed.
`--resume` continues from another run's files with new scenes (`--first`).
"""

import argparse
import copy
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np

SIDE, MOST = 640, 152      # picture side, room for objects in a scene
START = time.time()


class Pool:
    """Scenes on disk or in shared memory: pixels, boxes, counts (-1 while not rendered)."""

    def __init__(self, folder, size):
        self.size = size
        os.makedirs(folder, exist_ok=True)
        def array(name, dtype, shape):
            path = os.path.join(folder, name)
            new = not os.path.exists(path)
            return np.memmap(path, dtype, "w+" if new else "r+", shape=shape), new
        self.pixels, _ = array("pixels", np.uint8, (size, 3, SIDE, SIDE))
        self.boxes, _ = array("boxes", np.float32, (size, MOST, 5))
        self.counts, new = array("counts", np.int32, (size,))
        if new:
            self.counts[:] = -1


def render(folder, size, first, step, start, split):
    """One renderer process: every step-th scene of the pool."""
    import cv2
    import scenes
    cv2.setNumThreads(1)
    os.nice(15)                                      # training comes first
    pool = Pool(folder, size)
    for k in range(start, size, step):
        if pool.counts[k] >= 0:
            continue
        image, boxes = scenes.scene(split, first + k)
        h, w = image.shape[:2]
        top, left = (SIDE - h) // 2, (SIDE - w) // 2
        pool.pixels[k] = 114
        pool.pixels[k][:, top:top + h, left:left + w] = image.transpose(2, 0, 1)
        boxes = boxes[:MOST] + np.float32([0, left, top, left, top])
        pool.boxes[k, :len(boxes)] = boxes
        pool.counts[k] = len(boxes)


def renderers(folder, size, first, workers, split="train"):
    """Starts renderer processes over a new or partly filled pool."""
    pool = Pool(folder, size)
    env = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    call = "import sys; sys.path.insert(0, sys.argv[1]); import train; train.render(sys.argv[2], *map(int, sys.argv[3:7]), sys.argv[7])"
    here = os.path.dirname(os.path.abspath(__file__))
    jobs = [subprocess.Popen([sys.executable, "-c", call, here, folder, str(size), str(first), str(workers), str(k), split], env=env)
            for k in range(workers)]
    return pool, jobs


def augment(torch, images, boxes, counts):
    """Flips, zoom and shift, colour: uint8 (n, 3, s, s) to float images, boxes and a validity mask."""
    n, dev = images.shape[0], images.device
    u = lambda lo, hi, *s: torch.rand(n, *s, device=dev) * (hi - lo) + lo
    zoom = torch.where(u(0, 1) < 0.5, 1.0, 2 ** u(-0.6, 0.7))
    room = (zoom - 1).abs() * (SIDE / 2)
    shift = u(-1, 1, 2) * room[:, None]
    flip = torch.where(u(0, 1, 2) < 0.5, -1.0, 1.0)
    swap = u(0, 1) < 0.5
    images = images.float()
    images = torch.where(swap[:, None, None, None], images.transpose(2, 3), images)
    scale = flip * zoom[:, None]
    theta = torch.zeros(n, 2, 3, device=dev)
    theta[:, 0, 0], theta[:, 1, 1] = 1 / scale[:, 0], 1 / scale[:, 1]
    theta[:, :, 2] = -shift / (SIDE / 2) / scale
    grid = torch.nn.functional.affine_grid(theta, images.shape, align_corners=False)
    images = torch.nn.functional.grid_sample(images - 114, grid, "bilinear", "zeros", False) + 114
    kind, box = boxes[..., 0].long(), boxes[..., 1:]
    box = torch.where(swap[:, None, None], box[..., [1, 0, 3, 2]], box)
    pts = (box.view(n, -1, 2, 2) - SIDE / 2) * scale[:, None, None] + shift[:, None, None] + SIDE / 2
    lo, hi = pts.amin(2), pts.amax(2)
    clo, chi = lo.clamp(0, SIDE), hi.clamp(0, SIDE)
    area, seen = (hi - lo).prod(-1), (chi - clo).clamp(min=0).prod(-1)
    valid = torch.arange(box.shape[1], device=dev)[None] < counts[:, None]
    valid &= (seen > 0.3 * area) & ((chi - clo).amin(-1) >= 4)
    images = images * u(0.8, 1.2, 1, 1, 1) * u(0.95, 1.05, 3, 1, 1)
    mean = images.mean((2, 3), keepdim=True)
    images = ((images - mean) * u(0.8, 1.2, 1, 1, 1) + mean).clamp(0, 255) / 255
    return images, torch.cat((clo, chi), -1), kind, valid


def detect(torch, model, pixels):
    """Runs the model in batches over uint8 pictures: (n, 300, 6) on the CPU."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(pixels[i:i + 32].float() / 255).float().cpu() for i in range(0, len(pixels), 32)]).numpy()


def check(torch, model, pool, device):
    """mAP figures over a pool of unseen scenes, by pycocotools; None where that is missing."""
    try:
        import evaluate
    except ImportError as e:
        return {"skipped": str(e)}
    found = detect(torch, model, torch.from_numpy(np.asarray(pool.pixels)).to(device))
    truth = [pool.boxes[i, :max(0, pool.counts[i])] for i in range(pool.size)]
    return evaluate.score_arrays(found, truth)


def save(torch, out, model, ema, optimizer, note):
    """Weights, averaged weights and optimizer state, each in a file of its own."""
    os.makedirs(out, exist_ok=True)
    state = optimizer.state_dict()
    def moments(key):
        return {k: v[key].to(torch.bfloat16) for k, v in state["state"].items()}
    for name, data in (("model", model.state_dict()), ("ema", ema.state_dict()),
                       ("moment1", moments("exp_avg")), ("moment2", moments("exp_avg_sq"))):
        torch.save(data, os.path.join(out, name + ".tmp"))
        os.replace(os.path.join(out, name + ".tmp"), os.path.join(out, name + ".pt"))
    with open(os.path.join(out, "run.json"), "w") as f:
        json.dump(note, f, indent=1)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--seconds", type=float, required=True, help="wall-clock time from start to the saved result")
    ap.add_argument("--out", required=True)
    ap.add_argument("--resume", help="folder of an earlier run")
    ap.add_argument("--first", type=int, default=0, help="number of the first training scene")
    ap.add_argument("--pool", default="/dev/shm/osprey-pool")
    ap.add_argument("--scenes", type=int, default=40000)
    ap.add_argument("--checks", type=int, default=200)
    ap.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    ap.add_argument("--batch", type=int, default=64)
    ap.add_argument("--rate", type=float, default=2e-3)
    ap.add_argument("--warmup", type=int, default=400)
    ap.add_argument("--ready", type=int, default=1500, help="scenes to wait for before the first step")
    ap.add_argument("--eager", action="store_true", help="no torch.compile")
    ap.add_argument("--cache", help="file of compiled code to load and to write")
    a = ap.parse_args()
    shutil.rmtree(a.pool, ignore_errors=True)
    checks, jobs = renderers(a.pool + "/check", a.checks, 0, a.workers, "check")
    pool, more = renderers(a.pool + "/train", a.scenes, a.first, a.workers)
    jobs += more
    try:
        train(a, pool, checks)
    finally:
        for j in jobs:
            j.kill()
        shutil.rmtree(a.pool, ignore_errors=True)


def train(a, pool, checks):
    import torch
    import loss
    import network
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(int(a.first) + 1)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    if a.cache and os.path.exists(a.cache):
        with open(a.cache, "rb") as f:
            torch.compiler.load_cache_artifacts(f.read())
    model = network.Detector().to(device, memory_format=torch.channels_last)
    ema = copy.deepcopy(model).eval()
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}],
                                  lr=a.rate, betas=(0.9, 0.99), fused=device == "cuda")
    resumed = bool(a.resume)
    if resumed:
        load = lambda n: torch.load(os.path.join(a.resume, n + ".pt"), map_location=device)
        model.load_state_dict(load("ema"))           # go on from the average: it is the better point
        ema.load_state_dict(load("ema"))
        first, second, state = load("moment1"), load("moment2"), optimizer.state_dict()
        state["state"] = {k: {"step": torch.tensor(20000.0), "exp_avg": first[k].float(), "exp_avg_sq": second[k].float()} for k in first}
        optimizer.load_state_dict(state)
    live = [(e, m) for e, m in zip(ema.state_dict().values(), model.state_dict().values()) if e.dtype.is_floating_point]
    mean, live = [e for e, _ in live], [m for _, m in live]
    centres, strides = model.positions([torch.empty(1, 1, SIDE // s, SIDE // s, device=device) for s in network.STRIDES])
    forward, align = model, loss.alignment
    if not a.eager:
        forward = torch.compile(model, dynamic=False)
        align = torch.compile(loss.alignment, dynamic=False)

    big = torch.empty((pool.size, 3, SIDE, SIDE), dtype=torch.uint8, device=device)
    boxes = torch.zeros((pool.size, MOST, 5), device=device)
    counts = torch.zeros(pool.size, dtype=torch.int64, device=device)
    have = 0
    order = torch.zeros(pool.size, dtype=torch.int64, device=device)     # slots of scenes that are on the device
    source, done = torch.from_numpy(pool.pixels), threading.Event()
    known = np.zeros(pool.size, bool)
    def refill():
        nonlocal have
        new = np.flatnonzero((pool.counts >= 0) & ~known)[:4096]
        for i in range(0, len(new), 256):
            part = torch.from_numpy(new[i:i + 256])
            slot = part.to(device)
            big[slot] = source[part].to(device)
            boxes[slot] = torch.from_numpy(pool.boxes[part.numpy()]).to(device)
            counts[slot] = torch.from_numpy(pool.counts[part.numpy()].astype(np.int64)).to(device)
            order[have:have + len(part)] = slot
            known[part.numpy()] = True
            have += len(part)
    def feed():
        while not done.wait(4):
            refill()
    while have < min(a.ready, pool.size):
        time.sleep(0.5)
        refill()
        if time.time() - START > a.seconds * 0.5:
            sys.exit(f"only {have} scenes rendered in half of the time: too slow")
    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    model.train()
    begin = time.time()
    spare = 14 if device == "cuda" else 4            # seconds for the last check and the files
    span = a.seconds - spare - (begin - START)
    print(f"{have} scenes and the model ready after {begin - START:.0f} s; training for {span:.0f} s", flush=True)
    step, shown, last, parts = 0, time.time(), 0, 0
    many_weight, share = torch.ones((), device=device), torch.zeros((), device=device)
    while (t := (time.time() - begin) / span) < 1:
        rate = a.rate * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * t))) * min(1.0, (step + 1) / a.warmup)
        for g in optimizer.param_groups:
            g["lr"] = rate
        whole = 1.0 if resumed else t
        many_weight.fill_(1.0 - 0.75 * min(1.0, max(0.0, (whole - 0.2) / 0.7)))
        share.fill_(min(1.0, max(0.0, (whole - 0.15) / 0.4)))
        pick = order[torch.randint(have, (a.batch,), device=device)]
        images, gt_box, gt_class, valid = augment(torch, big[pick], boxes[pick], counts[pick])
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            outputs = forward(images.contiguous(memory_format=torch.channels_last), share)
        value, now = loss.total_loss(align, outputs, centres, strides, gt_box, gt_class, valid, many_weight)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        step += 1
        keep = min(0.9997, (1 + step) / (60 + step)) if not resumed else 0.9997
        with torch.no_grad():
            torch._foreach_lerp_(mean, live, 1 - keep)
        parts = parts + now
        if step == 5 and a.cache and not a.eager:
            made = torch.compiler.save_cache_artifacts()
            if made is not None:
                with open(a.cache + ".new", "wb") as f:
                    f.write(made[0])
        if time.time() - shown > 20 or step in (1, 20):
            parts = (parts / (step - last)).tolist()
            speed = (step - last) * a.batch / (time.time() - shown)
            print(f"{time.time() - START:5.0f} s  step {step:6d}  {have:6d} scenes  {speed:6.0f} img/s  lr {rate:.2e}  "
                  f"many cls {parts[0]:.3f} iou {parts[1]:.3f} side {parts[2]:.3f}  one cls {parts[3]:.3f} iou {parts[4]:.3f} side {parts[5]:.3f}", flush=True)
            shown, parts, last = time.time(), 0, step
    done.set()
    feeder.join()
    note = {"steps": step, "batch": a.batch, "scenes": have, "rate": a.rate, "seconds": round(time.time() - START), "resumed": resumed,
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu"}
    save(torch, a.out, model, ema, optimizer, note)
    note["check"] = check(torch, ema, checks, device)
    print(json.dumps(note), flush=True)
    with open(os.path.join(a.out, "run.json"), "w") as f:
        json.dump(note, f, indent=1)


if __name__ == "__main__":
    main()
