"""Vector sprites of the four classes, in metres: x forward, y to the left.

A sprite is its outline (polygons whose union is the visible shape, the source
of the box) and its parts: polygons with a colour, painted in order.
"""

from dataclasses import dataclass, field

import numpy as np

CLASSES = ("car", "truck", "boat", "plane")


@dataclass
class Sprite:
    """One object: class, outline, painted parts, and height for its shadow."""
    cls: int
    length: float
    width: float
    height: float
    outline: list
    parts: list = field(default_factory=list)

    def add(self, poly, colour, gain=1.0):
        """Paints a polygon on top of what is there."""
        self.parts.append((np.asarray(poly, np.float32), np.clip(np.asarray(colour, np.float32) * gain, 0, 255)))


def rect(x0, x1, y0, y1, r=0.0, n=4):
    """A rectangle, its corners rounded by r."""
    if r <= 0:
        return np.float32([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    r = min(r, (x1 - x0) / 2, (y1 - y0) / 2)
    t = np.linspace(0, np.pi / 2, n)
    corners = ((x1 - r, y1 - r, 0), (x0 + r, y1 - r, 1), (x0 + r, y0 + r, 2), (x1 - r, y0 + r, 3))
    return np.float32([(cx + r * np.cos(a), cy + r * np.sin(a))
                       for cx, cy, q in corners for a in t + q * np.pi / 2])


def ellipse(cx, cy, rx, ry, n=18):
    """An ellipse as a polygon."""
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([cx + rx * np.cos(a), cy + ry * np.sin(a)], 1).astype(np.float32)


def mirror(points):
    """Closes a half outline (y >= 0, from front to back) with its mirror image."""
    p = np.float32(points)
    return np.concatenate([p, (p * (1, -1))[::-1]])


CAR_PAINT = [(236, 236, 234), (224, 226, 228), (186, 190, 194), (150, 153, 157), (96, 99, 104), (48, 50, 54),
             (30, 31, 34), (150, 36, 34), (118, 24, 28), (44, 70, 122), (62, 96, 150), (42, 66, 54),
             (186, 172, 142), (204, 160, 48), (120, 84, 60)]
CAR_SHARE = np.array([16, 10, 12, 11, 8, 9, 9, 6, 3, 5, 4, 2, 3, 1.5, 1.5])
GLASS = (34, 42, 50)


def car(rng):
    """Saloon, estate, van or pickup."""
    kind = rng.choice(4, p=[0.5, 0.28, 0.1, 0.12])
    length = rng.uniform(*((4.0, 4.8), (4.3, 4.9), (4.7, 5.4), (5.0, 5.6))[kind])
    width = rng.uniform(1.72, 1.95) + (0.08 if kind >= 2 else 0)
    paint = np.float32(CAR_PAINT[rng.choice(len(CAR_PAINT), p=CAR_SHARE / CAR_SHARE.sum())])
    paint = paint * rng.uniform(0.92, 1.08) + rng.normal(0, 3, 3)
    l, w = length / 2, width / 2
    body = rect(-l, l, -w, w, rng.uniform(0.45, 0.75), 5)
    s = Sprite(0, length, width, 1.5 if kind != 2 else 2.0, [body])
    s.add(body, paint, 0.72)
    s.add(rect(-l + 0.10, l - 0.12, -w + 0.10, w - 0.10, 0.5), paint, 0.97)
    front = l - (rng.uniform(1.0, 1.35) if kind != 2 else 0.55)      # base of the windscreen
    back = -l + (0.95, 0.35, 0.25, 2.05)[kind]                       # base of the rear window
    glass = mirror([(front, 0.55 * w), (front - 0.12, 0.84 * w), (back + 0.1, 0.84 * w), (back, 0.62 * w)])
    s.add(glass, GLASS, rng.uniform(0.8, 1.5))
    rear = 0.5 if kind == 0 else 0.28
    roof = rect(back + rear, front - 0.62, -0.68 * w, 0.68 * w, 0.2, 3)
    s.add(roof, paint, 1.06)
    if rng.random() < 0.12:
        s.add(rect(back + rear + 0.5, front - 0.9, -0.4 * w, 0.4 * w), GLASS)   # sun roof
    if kind == 3:
        s.add(rect(-l + 0.18, back - 0.12, -w + 0.2, w - 0.2), paint * 0.3 + 20)  # open bed
    for side in (1, -1):
        s.add(rect(l - 0.28, l - 0.08, *sorted((side * (w - 0.5), side * (w - 0.14)))), (225, 225, 215))
        s.add(rect(-l + 0.06, -l + 0.2, *sorted((side * (w - 0.45), side * (w - 0.12)))), (130, 26, 22))
    return s


def truck(rng):
    """Box truck, semi-trailer, tanker, flatbed or tipper."""
    kind = rng.choice(5, p=[0.32, 0.34, 0.1, 0.12, 0.12])
    semi = kind in (1, 2) or (kind == 3 and rng.random() < 0.5)
    length = rng.uniform(13.0, 17.5) if semi else rng.uniform(6.8, 10.5)
    width = rng.uniform(2.35, 2.6)
    cab_len = rng.uniform(2.1, 2.9) if semi else rng.uniform(1.7, 2.2)
    cab = np.float32([(232, 232, 230), (170, 40, 36), (44, 78, 140), (60, 62, 66), (214, 168, 44),
                      (52, 92, 66), (196, 200, 204)][rng.integers(7)]) * rng.uniform(0.9, 1.05)
    load = np.float32([(238, 238, 236), (222, 224, 226), (206, 208, 208), (196, 66, 52), (66, 102, 158),
                       (206, 170, 92), (92, 120, 92), (120, 122, 126)][rng.choice(8, p=[.3, .2, .14, .08, .09, .06, .05, .08])])
    load = load * rng.uniform(0.9, 1.04)
    l, w = length / 2, width / 2
    gap = rng.uniform(0.5, 1.1) if semi else rng.uniform(0.1, 0.3)
    cab_poly = rect(l - cab_len, l, -w + 0.06, w - 0.06, 0.3, 3)
    bed = rect(-l, l - cab_len - gap, -w, w, 0.08, 2)
    chassis = rect(-l + 0.3, l - cab_len + 0.2, -0.5 * w, 0.5 * w)
    s = Sprite(1, length, width, 3.6, [cab_poly, bed, chassis])
    s.add(chassis, (52, 50, 48))
    s.add(cab_poly, cab, 0.74)
    s.add(rect(l - cab_len + 0.08, l - 0.55, -w + 0.24, w - 0.24, 0.2, 3), cab, 1.05)
    s.add(rect(l - 0.62, l - 0.2, -w + 0.28, w - 0.28, 0.1, 2), GLASS)
    if semi and rng.random() < 0.7:
        s.add(rect(l - cab_len + 0.12, l - cab_len + 0.9, -w + 0.3, w - 0.3, 0.2, 3), cab, 0.9)  # air dam
    x0, x1 = -l, l - cab_len - gap
    if kind == 2:                                                     # tanker: a lit cylinder
        steel = np.float32((196, 200, 204)) if rng.random() < 0.7 else load
        for f, g in ((1.0, 0.55), (0.86, 0.78), (0.62, 0.98), (0.3, 1.14)):
            s.add(rect(x0, x1, -w * f, w * f, 0.9 * f), steel, g)
        for x in np.linspace(x0 + 1.4, x1 - 1.4, 4):
            s.add(ellipse(x, 0, 0.32, 0.32, 10), steel, 0.6)
    elif kind == 3:                                                   # flatbed with cargo
        s.add(bed, (104, 92, 78), rng.uniform(0.8, 1.2))
        x = x0 + 0.4
        while x < x1 - 1.4:
            d = min(rng.uniform(1.2, 3.2), x1 - 0.2 - x)
            cargo = np.float32([(150, 112, 70), (176, 178, 180), (96, 70, 50), (60, 90, 140)][rng.integers(4)])
            if rng.random() < 0.8:
                s.add(rect(x, x + d, -w * 0.84, w * 0.84, 0.06, 2), cargo, rng.uniform(0.8, 1.1))
                s.add(rect(x + 0.15, x + d - 0.15, -w * 0.15, w * 0.6), cargo, 1.15)
            x += d + 0.25
    elif kind == 4:                                                   # tipper: a dark load inside walls
        s.add(bed, load, 0.8)
        fill = np.float32([(96, 78, 60), (60, 58, 56), (168, 150, 116)][rng.integers(3)])
        s.add(rect(x0 + 0.25, x1 - 0.25, -w + 0.22, w - 0.22, 0.2, 3), fill, 0.75)
        s.add(ellipse((x0 + x1) / 2, 0, (x1 - x0) * 0.33, w * 0.55), fill, 1.15)
    else:                                                             # closed box
        s.add(bed, load, 0.78)
        s.add(rect(x0 + 0.14, x1 - 0.14, -w + 0.14, w - 0.14), load, 1.0)
        if rng.random() < 0.6:
            for x in np.arange(x0 + 1.2, x1 - 0.5, rng.uniform(1.1, 2.4)):
                s.add(rect(x, x + 0.09, -w + 0.14, w - 0.14), load, 0.88)
        if rng.random() < 0.25:
            s.add(rect(x1 - 1.3, x1 - 0.3, -0.6, 0.6), (150, 152, 154))  # cooling unit
    return s


def boat(rng, big=None):
    """Motor boat, sailing yacht, cabin cruiser or work boat."""
    if big is None:
        big = rng.random() < 0.2
    kind = rng.choice(4, p=[0.1, 0.1, 0.45, 0.35]) if big else rng.choice(4, p=[0.5, 0.3, 0.2, 0.0])
    length = rng.uniform(16, 34) if big else rng.uniform(*((5.0, 8.5), (7.5, 13), (8, 14), (9, 14))[kind])
    width = length * rng.uniform(*((0.32, 0.4), (0.26, 0.32), (0.27, 0.33), (0.22, 0.28))[kind])
    l, w = length / 2, width / 2
    hull_paint = np.float32([(240, 240, 238), (226, 228, 228), (44, 58, 96), (122, 34, 32), (70, 74, 78),
                             (206, 188, 140)][rng.choice(6, p=[.5, .2, .1, .06, .08, .06])]) * rng.uniform(0.92, 1.02)
    t = np.linspace(0, 1, 9)
    bow = l - t * length * 0.58
    hull = mirror([(x, w * np.sin(a * np.pi / 2) ** rng.choice([0.75])) for x, a in zip(bow, t)]
                  + [(-l * 0.6, w * 0.99), (-l, w * rng.uniform(0.72, 0.92))])
    s = Sprite(2, length, width, 1.2 + 0.06 * length, [hull])
    s.add(hull, hull_paint, 0.80)
    wood = np.float32([(186, 148, 104), (222, 214, 198), (236, 236, 232)][rng.integers(3)])
    s.add(hull * (0.93, 0.82), hull_paint if kind == 3 else wood, 0.98)
    if kind == 0:                                                     # open boat: screen, well, engine
        s.add(rect(-l * 0.85, l * 0.15, -w * 0.62, w * 0.62, w * 0.2), (120, 104, 88), rng.uniform(0.6, 1.4))
        s.add(mirror([(l * 0.30, w * 0.3), (l * 0.18, w * 0.72), (l * 0.06, w * 0.72), (l * 0.16, 0.0)]), GLASS, 1.3)
        for x in (-l * 0.25, -l * 0.6):
            s.add(rect(x, x + l * 0.16, -w * 0.5, w * 0.5), (222, 218, 210))
        engine = rect(-l - 0.35, -l + 0.3, -0.25, 0.25)
        s.outline.append(engine)
        s.add(engine, (36, 36, 40))
    elif kind == 1:                                                   # yacht: cabin, cockpit, boom with sail cover
        s.add(mirror([(l * 0.45, 0.02), (l * 0.38, w * 0.38), (-l * 0.2, w * 0.55)]), (244, 244, 242))
        s.add(rect(l * 0.0, l * 0.3, -w * 0.34, w * 0.34, 0.1), GLASS, 1.4)
        s.add(rect(-l * 0.85, -l * 0.3, -w * 0.46, w * 0.46, 0.2), (140, 112, 84))
        cover = [(40, 62, 120), (236, 234, 228), (120, 36, 36)][rng.integers(3)]
        s.add(rect(-l * 0.7, l * 0.14, -0.16 - 0.01 * length, 0.16 + 0.01 * length), cover)
        s.add(ellipse(l * 0.14, 0, 0.2, 0.2, 8), (214, 216, 218))
    elif kind == 2:                                                   # cruiser: stacked decks
        s.add(mirror([(l * 0.5, 0.02), (l * 0.4, w * 0.5), (l * 0.1, w * 0.68), (-l * 0.62, w * 0.68)]), (238, 238, 238))
        s.add(mirror([(l * 0.36, 0.02), (l * 0.28, w * 0.42), (l * 0.06, w * 0.58), (l * 0.0, w * 0.4)]), GLASS, 1.2)
        s.add(rect(-l * 0.5, l * 0.04, -w * 0.5, w * 0.5, w * 0.2), (250, 250, 248))
        s.add(rect(-l * 0.36, -l * 0.16, -w * 0.32, w * 0.32), (206, 208, 210))
        s.add(rect(-l * 0.94, -l * 0.64, -w * 0.6, w * 0.6, 0.2), wood, 0.9)
    else:                                                             # work boat: holds and a bridge aft
        for x in np.linspace(-l * 0.3, l * 0.4, 4):
            s.add(rect(x, x + l * 0.17, -w * 0.6, w * 0.6), (96, 104, 96), rng.uniform(0.7, 1.2))
        s.add(rect(-l * 0.86, -l * 0.44, -w * 0.66, w * 0.66, 0.3), (236, 236, 232))
        s.add(rect(-l * 0.52, -l * 0.46, -w * 0.6, w * 0.6), GLASS)
        s.add(ellipse(-l * 0.7, 0, w * 0.22, w * 0.22), (40, 40, 44))
    return s


def plane(rng, small=None):
    """Airliner, light propeller aircraft or delta jet."""
    if small is None:
        small = rng.random() < 0.4
    kind = 2 if rng.random() < 0.14 else (1 if small else 0)
    length = rng.uniform(*((26, 42), (7.5, 11.5), (14, 19))[kind])
    span = length * rng.uniform(*((0.88, 1.05), (1.2, 1.45), (0.62, 0.75))[kind])
    l, b, f = length / 2, span / 2, length * rng.uniform(0.048, 0.058) * (1.25 if kind else 1)
    paint = np.float32([(242, 242, 242), (228, 230, 232), (200, 204, 208)][rng.integers(3)])
    if kind == 2:
        paint = np.float32([(128, 134, 140), (150, 154, 156), (112, 118, 108)][rng.integers(3)])
    if kind == 1 and rng.random() < 0.25:
        paint = np.float32([(206, 178, 56), (176, 52, 46), (70, 104, 160)][rng.integers(3)])
    accent = np.float32([(40, 66, 130), (176, 36, 40), (30, 120, 110), (224, 150, 40), (60, 60, 66), (90, 50, 120)][rng.integers(6)])
    body = mirror([(l, 0.02 * f), (l * 0.97, 0.42 * f), (l * 0.88, 0.85 * f), (l * 0.76, f), (-l * 0.35, f),
                   (-l * 0.75, 0.62 * f), (-l, 0.12 * f)])
    if kind == 0:
        sweep, root, tip, x = 0.42 * b, length * 0.17, length * 0.045, l * 0.22
        tail_x, tail_b, tail_c = -l * 0.70, b * 0.36, length * 0.08
    elif kind == 1:
        sweep, root, tip, x = 0.02 * b, length * 0.2, length * 0.16, l * 0.42
        tail_x, tail_b, tail_c = -l * 0.74, b * 0.34, length * 0.12
    else:
        sweep, root, tip, x = 0.95 * b, length * 0.42, length * 0.06, l * 0.30
        tail_x, tail_b, tail_c = -l * 0.72, b * 0.5, length * 0.11
    wing = mirror([(x, 0), (x - sweep, b), (x - sweep - tip, b), (x - root - (0.18 * sweep if kind == 0 else 0), 0)])
    tail = mirror([(tail_x, 0), (tail_x - tail_b * (0.5 if kind != 1 else 0.08), tail_b),
                   (tail_x - tail_b * (0.5 if kind != 1 else 0.08) - tail_c * 0.45, tail_b), (tail_x - tail_c, 0)])
    s = Sprite(3, length, span, 0.11 * length + 1, [body, wing, tail])
    engines = []
    if kind == 0:
        for y in ((0.33, 0.62) if length > 39 and rng.random() < 0.6 else (0.34,)):
            ex = x - sweep * y + length * 0.035
            engines += [rect(ex - length * 0.075, ex + length * 0.02, sgn * y * b - 0.026 * length,
                             sgn * y * b + 0.026 * length, 0.02 * length, 3) for sgn in (1, -1)]
    s.outline += engines
    for e in engines:
        s.add(e, accent if rng.random() < 0.3 else (176, 178, 182), 0.9)
    s.add(wing, paint, 0.86)
    s.add(mirror([(x - root * 0.16, 0), (x - root * 0.16 - sweep * 0.9, b * 0.94),
                  (x - root * 0.22 - sweep * 0.9 - tip * 0.5, b * 0.94), (x - root * 0.78, 0)]), paint, 0.99)
    s.add(tail, paint, 0.9)
    s.add(body, paint, 0.78)
    s.add(body * (0.985, 0.66), paint, 1.04)
    s.add(mirror([(l * 0.92, 0.02), (l * 0.90, 0.42 * f), (l * 0.85, 0.5 * f), (l * 0.865, 0.02)])
          if kind == 0 else rect(l * 0.22, l * 0.5, -0.6 * f, 0.6 * f, 0.4 * f, 3), GLASS)
    if kind == 0 and rng.random() < 0.35:
        s.add(rect(-l * 0.5, l * 0.6, -0.18 * f, 0.18 * f), accent, 1.1)
    s.add(rect(-l * 0.99, -l * 0.66, -0.13 * f, 0.13 * f), accent if kind != 2 else paint * 0.7)  # fin from above
    if kind == 1:
        prop = rect(l - 0.06, l + 0.06, -0.95, 0.95)
        s.outline.append(prop)
        s.add(prop, (70, 70, 72))
        for sgn in (1, -1):
            s.add(rect(x - root, x, *sorted((sgn * b * 0.86, sgn * b * 0.97))), accent)
    return s
