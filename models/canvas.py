"""The canvas of one scene: ground, markings, objects, shadows, roofs, crowns, camera.

Layouts work in metres in a plane that is rotated and scaled into the picture.
The ground is composed at picture resolution; everything with an edge is drawn
at twice that resolution and averaged down.  A map of object numbers is drawn
alongside, so that boxes follow what is visible after occlusion.
"""

import cv2
import numpy as np

import sprites
import textures

SS = 2          # supersampling of edges
OUTSET = 0.3    # a painted polygon is this much larger, in picture pixels, than its points
MAX_COVER = 0.35


def sweep(poly, v):
    """The convex hull of a polygon and of itself moved by v."""
    both = np.concatenate([poly, poly + v]).astype(np.float32)
    return cv2.convexHull(both)[:, 0]


class Canvas:
    """Collects the content of a scene, then renders it."""

    def __init__(self, rng, w, h, ppm, base, objects=True):
        self.rng, self.w, self.h, self.ppm, self.objects = rng, w, h, ppm, objects
        a = rng.uniform(0, 2 * np.pi)
        self.rot = np.float32([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        self.mid = np.float32([w / 2, h / 2])
        self.reach = float(np.hypot(w, h) / 2 / ppm)
        self.ground = np.ascontiguousarray(self.texture(base), np.float32)
        self.taken = np.zeros((h // 2 + 1, w // 2 + 1), np.uint8)
        sun = rng.uniform(0, 2 * np.pi)
        self.sun = np.float32([np.cos(sun), np.sin(sun)])          # where shadows point, in metres
        self.slant = rng.uniform(0.15, 1.1)
        self.dark = rng.uniform(0.35, 0.72)                        # light left in a shadow
        self.paints, self.stamps, self.roofs, self.crowns, self.casts, self.foam = [], [], [], [], [], []
        self.islands, self.feet = False, []
        self.room = min(280, max(150, 150 * w * h // 640 ** 2))

    # -- geometry ---------------------------------------------------------
    def px(self, points):
        """Metres to picture pixels."""
        return np.asarray(points, np.float32) @ self.rot * self.ppm + self.mid

    def fill(self, image, points, colour, scale=SS, aa=True):
        """Fills a polygon given in metres on an image `scale` times the picture."""
        p = np.round((self.px(points) * scale - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(image, [p], colour, cv2.LINE_AA if aa else cv2.LINE_8, 4)

    def inside(self, point, margin=3.0):
        """Whether a point given in metres lies in the picture."""
        x, y = self.px(point)
        return margin <= x < self.w - margin and margin <= y < self.h - margin

    def texture(self, kind):
        """A picture-sized texture."""
        return textures.ground(kind, self.rng, self.h, self.w, self.ppm)

    # -- content ----------------------------------------------------------
    def region(self, poly, kind, soft=0.0):
        """Covers a polygon of ground with a texture, its border `soft` metres wide."""
        q = self.px(poly)
        rim = 2 + 3 * soft * self.ppm
        x0, y0 = np.clip(np.floor(q.min(0) - rim), 0, (self.w, self.h)).astype(int)
        x1, y1 = np.clip(np.ceil(q.max(0) + rim), 0, (self.w, self.h)).astype(int)
        if x1 <= x0 or y1 <= y0:
            return
        mask = np.zeros(((y1 - y0) * SS, (x1 - x0) * SS), np.uint8)
        cv2.fillPoly(mask, [np.round(((q - (x0, y0)) * SS - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        mask = cv2.resize(mask, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        if soft:
            mask = cv2.GaussianBlur(mask, (0, 0), max(0.5, soft * self.ppm))
        if not mask.any():
            return
        tex = textures.ground(kind, self.rng, y1 - y0, x1 - x0, self.ppm)
        part = self.ground[y0:y1, x0:x1]
        part += (tex - part) * (mask.astype(np.float32) / 255)[..., None]

    def _foam(self):
        """Wakes: broken white water inside the queued soft strips."""
        mask = np.zeros((self.h, self.w), np.uint8)
        for poly, strength in self.foam:
            layer = np.zeros_like(mask)
            self.fill(layer, poly, int(255 * strength), 1)
            np.maximum(mask, layer, mask)
        clear = cv2.resize((self.taken == 0).astype(np.uint8), (self.w, self.h), interpolation=cv2.INTER_NEAREST)
        mask = cv2.GaussianBlur(mask, (0, 0), 0.35 * self.ppm).astype(np.float32) / 255
        rough = textures.noise("rough", self.rng, self.h, self.w, self.ppm / 10)
        fine = textures.noise("fine", self.rng, self.h, self.w, max(0.8, self.ppm / 12))
        mask *= np.clip(0.55 + 0.35 * rough + 0.25 * fine, 0, 1.3) * (clear if self.islands else 1)
        self.ground += (np.float32((228, 238, 240)) - self.ground) * np.clip(mask, 0, 1)[..., None]

    def paint(self, poly, colour, alpha=1.0):
        """A marking on the ground; alpha under 1 is worn paint."""
        self.paints.append((np.float32(poly), np.float32(colour), alpha))

    def free(self, poly, claim=True):
        """Whether a polygon touches nothing placed before; claims it if so."""
        q = self.px(poly) / 2
        x0, y0 = np.maximum(np.floor(q.min(0)).astype(int), 0)
        x1, y1 = np.minimum(np.ceil(q.max(0)).astype(int) + 1, (self.taken.shape[1], self.taken.shape[0]))
        if x1 <= x0 or y1 <= y0:
            return False
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(mask, [np.round((q - (x0, y0) - 0.5) * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
        patch = self.taken[y0:y1, x0:x1]
        if (patch & mask).any():
            return False
        if claim:
            patch |= mask
        return True

    def claim(self, poly):
        """Marks ground as taken whatever is there."""
        cv2.fillPoly(self.taken, [np.round((self.px(poly) / 2 - 0.5) * 16).astype(np.int32)], 1, cv2.LINE_8, 4)

    def place(self, sprite, x, y, heading, pad=0.3, check=True):
        """Puts an object down if its ground is free and its centre is in the picture."""
        if not self.objects or len(self.stamps) >= self.room or not self.inside((x, y)):
            return False
        c, s = np.cos(heading), np.sin(heading)
        turn = np.float32([[c, s], [-s, c]])
        at = np.float32([x, y])
        if check:
            l, w = sprite.length / 2 + pad, sprite.width / 2 + pad
            if sprite.cls == 3:
                l, w = l * 0.92, w * 0.92
            if not self.free(sprites.rect(-l, l, -w, w) @ turn + at):
                return False
        self.stamps.append((sprite, turn, at))
        return True

    def cast(self, poly, height):
        """A soft shadow of something of this height over ground and objects."""
        self.feet.append(np.float32(poly))
        self.casts.append(sweep(np.float32(poly), self.sun * self.slant * height))

    # -- rendering --------------------------------------------------------
    def _shade(self, image, polys, blur, extra=None):
        mask = np.zeros(image.shape[:2], np.uint8)
        for p in polys:
            self.fill(mask, p, 255, aa=False)
        if extra is not None:
            extra(mask)
        if not mask.any():
            return
        mask = cv2.resize(mask, (self.w, self.h), interpolation=cv2.INTER_AREA)
        mask = cv2.GaussianBlur(mask, (0, 0), max(0.4, blur * self.ppm))
        tint = np.float32([0.96, 1.0, 1.06]) * self.dark            # skylight is bluish
        gain = 1 + (np.minimum(tint, 1) - 1) * (mask.astype(np.float32) / 255)[..., None]
        gain = np.clip(gain * 255, 0, 255).astype(np.uint8)
        gain = cv2.resize(gain, (self.w * SS, self.h * SS), interpolation=cv2.INTER_LINEAR)
        cv2.multiply(image, gain, image, 1 / 255)

    def _covers(self, patch):
        """True if covering these pixels would hide too much of some object."""
        found = np.bincount(patch[patch > 0]) if (patch > 0).any() else ()
        if any(n and self.hidden[k] + n > MAX_COVER * self.areas[k] for k, n in enumerate(found)):
            return True
        for k, n in enumerate(found):
            self.hidden[k] += n
        return False

    def _stamp(self, image, ids, number, sprite, turn, at):
        """Draws one object; returns its outline's extent, or None if it was left out."""
        outline = [p @ turn + at for p in sprite.outline]
        pts = self.px(np.concatenate(outline))
        lo, hi = pts.min(0) - OUTSET, pts.max(0) + OUTSET
        x0, y0 = np.maximum(np.floor(lo * SS).astype(int) - 2, 0)
        x1, y1 = np.minimum(np.ceil(hi * SS).astype(int) + 2, (self.w * SS, self.h * SS))
        if x1 - x0 < 4 or y1 - y0 < 4:
            return None
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for p in outline:
            q = np.round((self.px(p) * SS - 0.5 - (x0, y0)) * 16).astype(np.int32)
            cv2.fillPoly(mask, [q], 1, cv2.LINE_8, 4)
        patch = ids[y0:y1, x0:x1]
        if self._covers(patch[mask > 0]):
            return None
        patch[mask > 0] = number
        self.areas[number] = int(mask.sum())
        for poly, colour in sprite.parts:
            q = self.px(poly @ turn + at)
            if np.ptp(q, 0).max() < 0.45:
                continue
            cv2.fillPoly(image, [np.round((q * SS - 0.5) * 16).astype(np.int32)], colour.tolist(), cv2.LINE_AA, 4)
        return lo, hi

    def _roof(self, ids, foot):
        """Takes what a roof covers from the objects under it (a roof is drawn over them)."""
        q = self.px(foot) * SS
        x0, y0 = np.maximum(np.floor(q.min(0)).astype(int), 0)
        x1, y1 = np.minimum(np.ceil(q.max(0)).astype(int) + 1, (self.w * SS, self.h * SS))
        if x1 <= x0 or y1 <= y0 or not ids[y0:y1, x0:x1].any():
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(mask, [np.round((q - 0.5 - (x0, y0)) * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
        patch = ids[y0:y1, x0:x1]
        under = patch[mask > 0]
        if under.any():
            self.hidden += np.bincount(under, minlength=len(self.hidden)) * (np.arange(len(self.hidden)) > 0)
            patch[mask > 0] = 0

    def _crown(self, image, ids, x, y, r, tint, kind):
        """A tree crown over everything; skipped where it would hide an object."""
        cx, cy = self.px((x, y)) * SS
        n = max(6, int(round(2 * r * self.ppm * SS)))
        x0, y0 = int(round(cx - n / 2)), int(round(cy - n / 2))
        u0, v0, u1, v1 = max(x0, 0), max(y0, 0), min(x0 + n, image.shape[1]), min(y0 + n, image.shape[0])
        if u1 <= u0 or v1 <= v0:
            return
        shade, alpha = textures.canopies()[kind]
        how = cv2.INTER_AREA if n < shade.shape[0] else cv2.INTER_LINEAR
        alpha = cv2.resize(alpha, (n, n), interpolation=how)[v0 - y0:v1 - y0, u0 - x0:u1 - x0]
        patch = ids[v0:v1, u0:u1]
        if patch.any():
            if self._covers(patch[alpha > 0.5]):
                return
            patch[alpha > 0.5] = 0
        shade = cv2.resize(shade, (n, n), interpolation=how)[v0 - y0:v1 - y0, u0 - x0:u1 - x0]
        top = np.clip(shade[..., None] * tint, 0, 255)
        dst = image[v0:v1, u0:u1]
        dst[:] = (dst + (top - dst) * alpha[..., None]).astype(np.uint8)

    def render(self):
        """Returns the picture (h, w, 3 RGB uint8) and [(class, x1, y1, x2, y2)]."""
        if self.foam:
            self._foam()
        image = np.clip(self.ground, 0, 255).astype(np.uint8)
        image = np.ascontiguousarray(image.repeat(SS, 0).repeat(SS, 1))
        for poly, colour, alpha in self.paints:
            if alpha < 1:
                cx, cy = np.clip(self.px(poly).mean(0), 0, (self.w - 1, self.h - 1)).astype(int)
                colour = self.ground[cy, cx] * (1 - alpha) + colour * alpha
            self.fill(image, poly, np.clip(colour, 0, 255).tolist())
        low = [sweep(p @ t + a, self.sun * self.slant * s.height) if s.cls != 3 else
               p @ t + a + self.sun * self.slant * s.height * 0.6 for s, t, a in self.stamps for p in s.outline]
        self._shade(image, low, 0.10)
        ids = np.zeros((self.h * SS, self.w * SS), np.int32)
        self.areas = np.zeros(len(self.stamps) + 1, np.int64)
        self.hidden = np.zeros(len(self.stamps) + 1, np.int64)
        extents = {}
        for k, (s, t, a) in enumerate(self.stamps, 1):
            e = self._stamp(image, ids, k, s, t, a)
            if e is not None:
                extents[k] = (s.cls, *e)

        def tree_shadows(mask):
            for x, y, r, _, _ in self.crowns:
                cx, cy = self.px(np.float32([x, y]) + self.sun * self.slant * r * 1.5) * SS
                cv2.circle(mask, (int(cx * 8), int(cy * 8)), int(r * self.ppm * SS * 7.2), 215, -1, cv2.LINE_8, 3)
        self._shade(image, self.casts, 0.18, tree_shadows)
        for foot in self.feet:
            self._roof(ids, foot)
        for draw in self.roofs:
            draw(image)
        for c in self.crowns:
            self._crown(image, ids, *c)
        boxes = [b for k, (c, lo, hi) in extents.items() if (b := self._box(ids, k, c, lo, hi))]
        return cv2.resize(image, (self.w, self.h), interpolation=cv2.INTER_AREA), boxes

    def _box(self, ids, k, cls, lo, hi):
        """The visible box of object k: its exact outline, cut by occlusion and borders."""
        x0, y0 = np.maximum(np.floor(lo * SS).astype(int) - 2, 0)
        x1, y1 = np.minimum(np.ceil(hi * SS).astype(int) + 2, (self.w * SS, self.h * SS))
        seen = ids[y0:y1, x0:x1] == k
        if seen.sum() < 0.3 * self.areas[k]:
            return None
        if self.hidden[k]:
            xs, ys = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
            lo = np.maximum(lo, (np.float64([xs[0], ys[0]]) + (x0, y0)) / SS)
            hi = np.minimum(hi, (np.float64([xs[-1], ys[-1]]) + (x0, y0) + 1) / SS)
        lo, hi = np.maximum(lo, 0), np.minimum(hi, (self.w, self.h))
        if (hi - lo).min() < 4:
            return None
        return cls, float(lo[0]), float(lo[1]), float(hi[0]), float(hi[1])


def camera(image, rng):
    """Light, haze, blur, noise and compression of one exposure."""
    h, w = image.shape[:2]
    x = image.astype(np.float32)
    if rng.random() < 0.35:                                             # cloud shadows
        cloud = textures.noise("cloud", rng, h, w, rng.uniform(1.5, 4))
        x *= (1 - rng.uniform(0.1, 0.45) * np.clip(cloud * 1.5, 0, 1))[..., None]
    grey = x.mean(2, keepdims=True)
    x = grey + (x - grey) * rng.uniform(0.55, 1.3)
    if rng.random() < 0.03:
        x = np.repeat(grey, 3, 2)
    x *= 1 + rng.normal(0, 0.035, 3).astype(np.float32)
    gain = rng.uniform(0.35, 0.7) if rng.random() < 0.12 else rng.uniform(0.75, 1.2)
    x = np.clip(x * np.float32(gain / 255), 0, 1) ** np.float32(rng.uniform(0.8, 1.25)) * 255
    if rng.random() < 0.3:                                              # haze
        x += (np.float32([205, 212, 220]) - x) * np.float32(rng.uniform(0.03, 0.28))
    if rng.random() < 0.25:                                             # vignette
        yy, xx = np.mgrid[-1:1:h * 1j, -1:1:w * 1j].astype(np.float32)
        x *= (1 - np.float32(rng.uniform(0.05, 0.25)) * (xx * xx + yy * yy) / 2)[..., None]
    if rng.random() < 0.65:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 1.0))
    if rng.random() < 0.08:                                             # motion
        n, a = int(rng.integers(3, 6)), rng.uniform(0, np.pi)
        kernel = np.zeros((n, n), np.float32)
        d = np.float64([np.cos(a), np.sin(a)]) * (n - 1) / 2
        c = (n - 1) / 2
        cv2.line(kernel, tuple(int(round(c - v)) for v in d), tuple(int(round(c + v)) for v in d), 1)
        x = cv2.filter2D(x, -1, kernel / kernel.sum())
    sigma = np.float32(rng.uniform(0.5, 7.0))
    cv2.setRNGSeed(int(rng.integers(1 << 31)))
    x += cv2.randn(np.empty((h, w), np.float32), 0, float(sigma))[..., None]
    x += cv2.randn(np.empty((h, w, 3), np.float32), 0, float(sigma) * 0.5)
    out = np.clip(x, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = int(rng.integers(55, 95))
        out = cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return out
