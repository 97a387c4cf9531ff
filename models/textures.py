"""Procedural ground textures: tileable noise and what is made of it.

All textures are made from a small library of tileable noise fields, built once
per process from a fixed seed.  A scene takes windows of these fields at its own
offset, angle and zoom, so the same scene seed always gives the same pixels.
"""

import functools

import cv2
import numpy as np

TILE = 1024  # side of a library field, in pixels


def _spectral(rng, shape_filter):
    """White noise shaped in the frequency domain: tileable, mean 0, deviation 1."""
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE)).astype(np.float32))
    fy = np.fft.fftfreq(TILE)[:, None] * TILE
    fx = np.fft.rfftfreq(TILE)[None, :] * TILE
    field = np.fft.irfft2(spectrum * shape_filter(fx, fy), s=(TILE, TILE))
    field -= field.mean()
    return np.ascontiguousarray(field / field.std(), np.float32)


def _power(beta, low=1.0, stretch=1.0):
    """Filter of a 1/f^beta noise; frequencies under `low` are left out."""
    def shape(fx, fy):
        f = np.sqrt((fx / stretch) ** 2 + fy ** 2)
        return np.where(f < low, 0.0, 1.0 / np.maximum(f, low) ** beta)
    return shape


def _band(centre, width, stretch=1.0):
    """Filter that keeps a ring of frequencies, elongated by `stretch`."""
    def shape(fx, fy):
        f = np.sqrt((fx * stretch) ** 2 + fy ** 2)
        return np.exp(-0.5 * (np.log(np.maximum(f, 0.5) / centre) / width) ** 2)
    return shape


@functools.lru_cache(maxsize=None)
def library():
    """The noise fields by name."""
    rng = np.random.default_rng(20240521)
    return {
        "cloud": _spectral(rng, _power(2.0, 2)),
        "patch": _spectral(rng, _power(1.5, 6)),
        "rough": _spectral(rng, _power(1.0, 24)),
        "fine": _spectral(rng, _power(0.3, 120)),
        "clump": _spectral(rng, _band(90, 0.35)),
        "wave": _spectral(rng, _band(70, 0.30, 2.6)),
        "ripple": _spectral(rng, _band(170, 0.30, 3.0)),
        "streak": _spectral(rng, _power(1.0, 10, 9.0)),
    }


def noise(name, rng, h, w, zoom=1.0, angle=None):
    """A random window (h, w) of a library field, magnified by `zoom`."""
    if angle is None:
        angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle) / zoom, np.sin(angle) / zoom
    ox, oy = rng.uniform(0, TILE, 2)
    m = np.float32([[c, -s, ox], [s, c, oy]])
    return cv2.warpAffine(library()[name], m, (w, h), borderMode=cv2.BORDER_WRAP,
                          flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


PALETTES = {
    "grass": [(92, 112, 62), (112, 124, 74), (80, 104, 58), (128, 128, 84), (74, 92, 50)],
    "meadow": [(122, 128, 80), (140, 134, 92), (104, 116, 66), (150, 142, 100)],
    "field": [(118, 98, 70), (150, 132, 88), (96, 118, 58), (168, 150, 98), (104, 84, 62), (84, 110, 54)],
    "soil": [(128, 104, 80), (146, 120, 92), (110, 90, 72), (156, 128, 104)],
    "sand": [(206, 188, 152), (192, 170, 132), (214, 200, 170), (182, 154, 118)],
    "asphalt": [(92, 92, 94), (112, 112, 112), (78, 79, 82), (126, 124, 120), (102, 100, 98)],
    "concrete": [(172, 168, 160), (156, 154, 150), (186, 182, 172), (144, 142, 138)],
    "gravel": [(150, 142, 132), (134, 128, 120), (164, 154, 138)],
    "water": [(36, 66, 84), (46, 84, 98), (30, 52, 66), (58, 94, 98), (64, 88, 80), (40, 96, 112)],
    "forest": [(52, 72, 40), (62, 80, 44), (46, 64, 42), (70, 84, 48)],
    "snow": [(222, 226, 232), (212, 216, 222)],
}


def _tint(rng, kind):
    base = np.float32(PALETTES[kind][rng.integers(len(PALETTES[kind]))])
    return base * rng.uniform(0.9, 1.1) + rng.normal(0, 3, 3).astype(np.float32)


def _mix(base, other, weight):
    return base + (other - base) * weight[..., None]


def ground(kind, rng, h, w, ppm):
    """A (h, w, 3) float32 texture of one kind of ground at `ppm` pixels a metre."""
    z = ppm / 8.0  # the library is drawn for 8 pixels a metre
    base = _tint(rng, kind)
    if kind == "water":
        return _water(rng, h, w, z, base)
    low = noise("cloud", rng, h, w, 1.6 * z)
    mid = noise("patch", rng, h, w, 1.2 * z)
    fine = noise("fine", rng, h, w, max(0.8, 0.7 * z))
    if kind in ("grass", "meadow", "forest"):
        rough = noise("clump" if kind == "forest" else "rough", rng, h, w, 1.4 * z)
        dry = _tint(rng, "meadow")
        out = _mix(base, dry, np.clip(0.25 + 0.28 * low + 0.12 * mid, 0, 0.9))
        gain = 1 + 0.05 * low + 0.07 * mid + (0.20 if kind == "forest" else 0.08) * rough + 0.05 * fine
        if kind == "grass" and rng.random() < 0.25:  # mown stripes
            gain += 0.05 * np.sign(_stripes(rng, h, w, ppm * rng.uniform(4, 9), 0.0))
    elif kind == "field":
        out = _mix(base, _tint(rng, "soil"), np.clip(0.2 + 0.25 * mid, 0, 0.8))
        rows = _stripes(rng, h, w, max(2.6, ppm * rng.choice([0.8, 1.6, 3.0])), 0.25)
        gain = 1 + 0.06 * low + 0.05 * mid + rng.uniform(0.03, 0.14) * rows + 0.06 * fine
    elif kind in ("sand", "soil", "gravel", "snow"):
        amp = {"sand": 0.025, "soil": 0.06, "gravel": 0.06, "snow": 0.012}[kind]
        out = _mix(base, _tint(rng, kind), np.clip(0.3 + 0.3 * mid, 0, 1))
        gain = 1 + 0.03 * low + amp * mid + amp * noise("rough", rng, h, w, z) + amp * fine
        if kind == "sand":
            gain += rng.uniform(0, 0.05) * noise("wave", rng, h, w, 1.5 * z)
    elif kind == "asphalt":
        out = np.broadcast_to(base, (h, w, 3))
        gain = 1 + 0.03 * low + 0.035 * mid + 0.045 * fine
        gain += rng.uniform(0.0, 0.05) * noise("streak", rng, h, w, z)
        gain -= 0.18 * np.clip(noise("patch", rng, h, w, z) - 1.9, 0, 1)      # oil stains
        patch = noise("cloud", rng, h, w, z) > rng.uniform(0.9, 1.8)          # repaired patches
        gain = np.where(patch, gain * rng.uniform(0.85, 1.1), gain)
    else:  # concrete: slabs with joints
        out = np.broadcast_to(base, (h, w, 3))
        gain = 1 + 0.03 * low + 0.04 * mid + 0.03 * fine
        gain -= 0.1 * np.clip(noise("streak", rng, h, w, z) - 1.2, 0, 1)
    return out * gain[..., None]


def _stripes(rng, h, w, period, wobble):
    """Sine stripes of a period in pixels, bent a little by noise."""
    a = rng.uniform(0, np.pi)
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    phase = (xx * np.float32(np.cos(a)) + yy * np.float32(np.sin(a))) * np.float32(2 * np.pi / period)
    if wobble:
        phase += np.float32(wobble) * noise("patch", rng, h, w, 1.5)
    return np.sin(phase + np.float32(rng.uniform(0, 6)))


def _water(rng, h, w, z, base):
    """Open water: depth patches, two wave trains and, at times, glints and foam."""
    wind = rng.uniform(0, np.pi)
    low = noise("cloud", rng, h, w, 2.2 * z)
    wave = noise("wave", rng, h, w, 1.6 * z, wind)
    ripple = noise("ripple", rng, h, w, 1.1 * z, wind + rng.normal(0, 0.2))
    rough = rng.uniform(0.02, 0.09)
    gain = 1 + 0.08 * low + rough * (wave + 0.7 * ripple) + 0.012 * noise("fine", rng, h, w, 1)
    out = _mix(base, _tint(rng, "water"), np.clip(0.3 + 0.3 * low, 0, 1)) * gain[..., None]
    if rng.random() < 0.4:
        glint = np.clip(wave + ripple - rng.uniform(1.9, 3.2), 0, 1.5) * rng.uniform(15, 70)
        out += glint[..., None]
    if rng.random() < 0.25:
        foam = np.clip(noise("streak", rng, h, w, z, wind) - rng.uniform(1.8, 2.6), 0, 1)
        out += (foam * np.clip(noise("rough", rng, h, w, z), 0, 2) * 60)[..., None]
    return out


@functools.lru_cache(maxsize=None)
def canopies(count=20, side=72):
    """Tree crowns seen from above: (shade, alpha) pairs of side x side pixels."""
    rng = np.random.default_rng(715)
    yy, xx = np.mgrid[0:side, 0:side].astype(np.float32) / (side - 1) * 2 - 1
    crowns = []
    for _ in range(count):
        angle = np.arctan2(yy, xx)
        edge = 0.82 + sum(rng.normal(0, 0.09 / k) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(2, 9))
        shade = np.full((side, side), 0.45, np.float32)
        height = np.zeros((side, side), np.float32)
        for _ in range(int(rng.integers(35, 80))):  # leaf clusters: little lit domes
            a, d = rng.uniform(0, 6.3), np.sqrt(rng.uniform(0, 1)) * 0.8
            cx, cy, r = d * np.cos(a), d * np.sin(a), rng.uniform(0.12, 0.30)
            dome = 1 - ((xx - cx) ** 2 + (yy - cy) ** 2) / r ** 2
            top = (1 - d * d) * 0.8 + dome * r
            lit = 0.62 + 0.55 * ((cx - xx) + (cy - yy)) / r * 0.5 + rng.normal(0, 0.06)
            win = (dome > 0) & (top > height)
            height[win], shade[win] = top[win], lit[win]
        alpha = np.clip((edge - np.sqrt(xx * xx + yy * yy)) * 9, 0, 1)
        alpha *= np.clip(0.75 + height * 1.5, 0, 1)
        crowns.append((np.clip(shade, 0.25, 1.25), alpha))
    return crowns
