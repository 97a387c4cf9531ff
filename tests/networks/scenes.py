"""Renders small random scenes: textured rectangles and ellipses on a shaded ground.

Structured images, not noise: networks are conditioned and compared on them. A seed and a size give
the same image everywhere.
"""

import numpy as np


def _texture(rng, height, width):
    """A smooth or striped texture in -1..1."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    kind = rng.integers(3)
    if kind == 0:
        angle, period = rng.uniform(0, np.pi), rng.uniform(4, 40)
        return np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period))
    if kind == 1:
        period = rng.uniform(6, 30)
        return np.sign(np.sin(x * (2 * np.pi / period)) * np.sin(y * (2 * np.pi / period)))
    coarse = rng.uniform(-1, 1, (height // 16 + 2, width // 16 + 2)).astype(np.float32)
    rows, columns = np.arange(height) / 16, np.arange(width) / 16
    r, c = rows.astype(int), columns.astype(int)
    fr, fc = (rows - r)[:, None], (columns - c)[None, :]
    top = coarse[r][:, c] * (1 - fc) + coarse[r][:, c + 1] * fc
    bottom = coarse[r + 1][:, c] * (1 - fc) + coarse[r + 1][:, c + 1] * fc
    return top * (1 - fr) + bottom * fr


def _draw(rng, image):
    """Draws one rectangle or ellipse of any angle, computing inside its own bounds only."""
    height, width = image.shape[1:]
    size = float(np.exp(rng.uniform(np.log(10), np.log(min(height, width) / 2.5))))
    ry, rx = size * rng.uniform(0.3, 1) / 2, size * rng.uniform(0.3, 1) / 2
    cy, cx, angle = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0, np.pi)
    reach = int(np.hypot(rx, ry)) + 1
    top, bottom = max(0, int(cy) - reach), min(height, int(cy) + reach + 1)
    left, right = max(0, int(cx) - reach), min(width, int(cx) + reach + 1)
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
    u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
    if rng.random() < 0.5:
        mask = (np.abs(u) < rx) & (np.abs(v) < ry)
    else:
        mask = (u / rx) ** 2 + (v / ry) ** 2 < 1
    colour = rng.uniform(0, 1, 3).astype(np.float32)
    pattern = rng.uniform(0, 0.4) * _texture(rng, bottom - top, right - left)
    for channel in range(3):
        image[channel, top:bottom, left:right][mask] = (colour[channel] + pattern)[mask]


def scene(seed, height, width):
    """One image: float32 of shape (3, height, width), values in 0..1."""
    rng = np.random.default_rng([seed, height, width])
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    image = np.empty((3, height, width), np.float32)
    slope = rng.uniform(-0.3, 0.3, 2)
    shade = slope[0] * (y / height - 0.5) + slope[1] * (x / width - 0.5)
    ground = _texture(rng, height, width)
    for channel in range(3):
        image[channel] = rng.uniform(0.15, 0.85) + shade + rng.uniform(0.15, 0.35) * ground
    for _ in range(int(rng.integers(60, 160))):
        _draw(rng, image)
    image += rng.normal(0, 0.015, image.shape).astype(np.float32)
    # Whole bytes, as from a picture file.
    return (np.round(np.clip(image, 0, 1) * 255) / 255).astype(np.float32)


def batch(first_seed, count, height, width):
    """Several different images: (count, 3, height, width)."""
    return np.stack([scene(first_seed + i, height, width) for i in range(count)])
