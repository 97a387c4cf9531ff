"""What stands where: streets, car parks, harbours, airfields and their clutter."""

import numpy as np

import sprites
from sprites import ellipse, rect

WHITE, YELLOW = (232, 232, 226), (222, 182, 66)


def turned(poly, x, y, angle):
    """A polygon turned about its origin and moved to (x, y)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(poly, np.float32) @ np.float32([[c, s], [-s, c]]) + np.float32([x, y])


def band(path, offset0, offset1):
    """The strip between two sideways offsets of a polyline."""
    p = np.float32(path)
    t = np.gradient(p, axis=0)
    n = np.stack([-t[:, 1], t[:, 0]], 1) / np.maximum(np.hypot(*t.T), 1e-6)[:, None]
    return np.concatenate([p + n * offset0, (p + n * offset1)[::-1]])


# -- buildings, trees and clutter --------------------------------------------
ROOFS = [(150, 146, 140), (178, 174, 168), (118, 116, 116), (196, 192, 186), (206, 206, 204), (98, 94, 92), (160, 136, 118)]
TILES = [(150, 92, 70), (132, 76, 60), (116, 104, 96), (96, 92, 94), (170, 116, 86), (124, 88, 72), (84, 86, 96)]


def building(c, x, y, l, w, angle, height, kind=None):
    """A building with a flat or a pitched roof; False if its ground is taken."""
    rng = c.rng
    foot = turned(rect(-l / 2, l / 2, -w / 2, w / 2), x, y, angle)
    if not c.free(turned(rect(-l / 2 - 0.5, l / 2 + 0.5, -w / 2 - 0.5, w / 2 + 0.5), x, y, angle)):
        return False
    c.cast(foot, height)
    kind = kind or ("pitched" if max(l, w) < 22 and rng.random() < 0.75 else "flat")
    def at(p):
        return turned(p, x, y, angle)
    local = np.float32([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) @ -c.sun
    parts = []
    if kind == "pitched":
        base = np.float32(TILES[rng.integers(len(TILES))]) * rng.uniform(0.85, 1.15)
        hip = rng.uniform(0.3, 0.5) * w if rng.random() < 0.5 else 0.0
        ridge = [(-l / 2 + hip, 0), (l / 2 - hip, 0)]
        corner = rect(-l / 2, l / 2, -w / 2, w / 2)
        slopes = [([corner[0], corner[1], ridge[1], ridge[0]], -local[1]), ([corner[2], corner[3], ridge[0], ridge[1]], local[1])]
        if hip:
            slopes += [([corner[1], corner[2], ridge[1]], local[0]), ([corner[3], corner[0], ridge[0]], -local[0])]
        for poly, lit in slopes:
            parts.append((at(poly), base * (0.86 + 0.30 * lit)))
        for d in np.arange(0.5, w / 2 - 0.2, 0.55):                   # rows of tiles
            for sgn in (1, -1):
                e = hip * (1 - d / (w / 2)) if hip else 0
                parts.append((at(rect(-l / 2 + e, l / 2 - e, *sorted((sgn * d, sgn * (d + 0.12))))), base * (0.78 + 0.28 * sgn * local[1])))
        parts.append((at(rect(ridge[0][0], ridge[1][0], -0.12, 0.12)), base * 1.2))
        if rng.random() < 0.5:
            u = rng.uniform(-0.3, 0.3) * l
            parts.append((at(rect(u, u + 0.9, 0.4, 1.2)), (120, 84, 72)))      # chimney
        if rng.random() < 0.2 and w > 8:
            parts += panels(rng, at, -l * 0.3, l * 0.3, 0.8, w / 2 - 0.8)
    else:
        base = np.float32(ROOFS[rng.integers(len(ROOFS))]) * rng.uniform(0.85, 1.12)
        parts.append((foot, base * 1.14))                             # parapet
        e = rng.uniform(0.3, 0.6)
        parts.append((at(rect(-l / 2 + e, l / 2 - e, -w / 2 + e, w / 2 - e)), base * 0.82))
        parts.append((at(rect(-l / 2 + e + 0.4, l / 2 - e - 0.1, -w / 2 + e + 0.4, w / 2 - e - 0.1)), base))
        style = rng.random()
        if style < 0.35:                                              # corrugated sheet
            for u in np.arange(-l / 2 + 1, l / 2 - 1, rng.uniform(0.9, 2.0)):
                parts.append((at(rect(u, u + 0.18, -w / 2 + e, w / 2 - e)), base * 0.9))
            parts.append((at(rect(-l / 2 + e, l / 2 - e, -0.2, 0.2)), base * 1.12))
        elif style < 0.5 and l > 12:
            parts += panels(rng, at, -l / 2 + 2, l / 2 - 2, -w / 2 + 2, w / 2 - 2)
        for _ in range(int(rng.integers(1, 3 + l * w / 90))):         # cooling units, skylights, hatches
            u, v = rng.uniform(-0.42, 0.42) * l, rng.uniform(-0.42, 0.42) * w
            a, b = rng.uniform(0.6, 3.2), rng.uniform(0.6, 2.0)
            tone = np.float32([(206, 208, 208), (130, 132, 134), (90, 110, 128), (226, 226, 224)][rng.integers(4)])
            unit = at(rect(u, u + a, v, v + b))
            parts.append((unit + c.sun * c.slant * 0.9, base * 0.55))
            parts.append((unit, tone))
            if rng.random() < 0.5 and a > 1.2:
                parts.append((at(ellipse(u + a / 2, v + b / 2, b * 0.3, b * 0.3, 10)), tone * 0.6))
    def draw(image):
        for p, colour in parts:
            c.fill(image, p, np.clip(colour, 0, 255).tolist() if not isinstance(colour, tuple) else colour)
    c.roofs.append(draw)
    return True


def panels(rng, at, x0, x1, y0, y1):
    """Rows of solar panels."""
    tone = np.float32((38, 48, 78)) * rng.uniform(0.8, 1.3)
    return [(at(rect(x, x + 1.5, y, y + 0.9)), tone) for x in np.arange(x0, x1 - 1.5, 1.6) for y in np.arange(y0, y1 - 0.9, 1.4)][:160]


def tree(c, x, y, r=None, check=True):
    """One tree or bush, if its trunk's ground is free."""
    rng = c.rng
    r = r or rng.uniform(1.6, 4.6)
    if len(c.crowns) > 260 or not c.inside((x, y), -r * c.ppm):
        return
    if check and not c.free(turned(rect(-0.5, 0.5, -0.5, 0.5) * min(r, 1.5), x, y, 0), claim=False):
        return
    tint = np.float32([(92, 112, 58), (76, 98, 52), (108, 122, 64), (66, 88, 56), (128, 124, 66), (86, 104, 76)][rng.integers(6)])
    c.crowns.append((x, y, r, tint * rng.uniform(0.75, 1.2), int(rng.integers(20))))


def scatter_trees(c, count, area=None):
    """Trees alone and in groups."""
    rng, d = c.rng, c.reach
    x0, x1, y0, y1 = area or (-d, d, -d, d)
    while count > 0:
        x, y, n = rng.uniform(x0, x1), rng.uniform(y0, y1), int(rng.integers(1, 7))
        for _ in range(n):
            tree(c, x + rng.normal(0, 4) * (n > 1), y + rng.normal(0, 4) * (n > 1))
        count -= n


def clutter(c, x, y, angle=0.0):
    """One thing that is none of the four classes: container, tank, pool, bales, crates…"""
    rng = c.rng
    kind = rng.integers(6)
    if kind == 0:                                                     # shipping containers
        for k in range(int(rng.integers(1, 5))):
            l = rng.choice([6.1, 12.2])
            box = turned(rect(-l / 2, l / 2, -1.22, 1.22), x, y, angle) + turned([(0, k * 2.7)], 0, 0, angle)[0]
            if c.free(box):
                tone = np.float32([(150, 62, 46), (58, 92, 136), (74, 112, 88), (178, 132, 62), (128, 128, 130), (102, 60, 50)][rng.integers(6)])
                c.cast(box, 2.6)
                ribs = [turned(rect(u, u + 0.14, -1.22, 1.22), 0, 0, angle) + box.mean(0) for u in np.arange(-l / 2 + 0.3, l / 2, 0.55)]
                c.roofs.append(lambda im, b=box, t=tone, r=ribs: [c.fill(im, b, t.tolist())] + [c.fill(im, q, (t * 0.84).tolist()) for q in r])
    elif kind == 1:                                                   # round tank
        r = rng.uniform(2, 7)
        disc = turned(ellipse(0, 0, r, r, 28), x, y, 0)
        if c.free(disc):
            tone = np.float32((206, 206, 202)) * rng.uniform(0.75, 1.1)
            c.cast(disc, rng.uniform(3, 8))
            c.roofs.append(lambda im: [c.fill(im, turned(ellipse(0, 0, r * f, r * f, 28), x, y, 0) - c.sun * r * o, (tone * g).tolist())
                                       for f, g, o in ((1, 0.85, 0), (0.93, 1.0, 0), (0.5, 1.06, 0.2), (0.1, 0.6, 0))])
    elif kind == 2:                                                   # swimming pool
        pool = turned(rect(-4, 4, -2, 2, 1.2, 5) * rng.uniform(0.7, 1.2), x, y, angle)
        if c.free(pool):
            c.paint((pool - (x, y)) * 1.25 + (x, y), (206, 198, 184))
            c.paint(pool, (86, 176, 196))
            c.paint((pool - (x, y)) * (0.7, 0.7) + (x, y), (62, 152, 186))
    elif kind == 3:                                                   # bales or boulders
        for _ in range(int(rng.integers(3, 12))):
            r = rng.uniform(0.5, 1.4)
            p = turned(ellipse(0, 0, r, r * rng.uniform(0.7, 1), 9), x + rng.normal(0, 6), y + rng.normal(0, 6), rng.uniform(0, 3))
            if c.free(p):
                tone = np.float32([(176, 156, 104), (138, 134, 128)][rng.integers(2)]) * rng.uniform(0.8, 1.15)
                c.cast(p, 1.0)
                c.roofs.append(lambda im, q=p, t=tone: [c.fill(im, q, (t * 0.8).tolist()), c.fill(im, (q - q.mean(0)) * 0.6 + q.mean(0) - c.sun * 0.2, (t * 1.1).tolist())])
    elif kind == 4:                                                   # skips and crates
        for _ in range(int(rng.integers(1, 6))):
            l, w = rng.uniform(1.2, 4.0), rng.uniform(1.0, 2.0)
            ux, uy = x + rng.normal(0, 4), y + rng.normal(0, 4)
            p = turned(rect(-l / 2, l / 2, -w / 2, w / 2), ux, uy, rng.uniform(0, 3.1))
            if c.free(p):
                tone = np.float32([(72, 102, 84), (146, 116, 76), (170, 120, 50), (110, 112, 116)][rng.integers(4)]) * rng.uniform(0.8, 1.1)
                c.cast(p, 1.2)
                c.roofs.append(lambda im, q=p, t=tone: [c.fill(im, q, t.tolist()), c.fill(im, (q - q.mean(0)) * 0.8 + q.mean(0), (t * 0.55).tolist())])
    else:                                                             # ball court
        court = turned(rect(-14, 14, -7.5, 7.5), x, y, angle)
        if c.free(court):
            c.paint(court, [(86, 122, 92), (150, 88, 70), (74, 104, 140)][rng.integers(3)], 0.85)
            for u0, u1, v0, v1 in ((-12, 12, -5.5, -5.35), (-12, 12, 5.35, 5.5), (-12, -11.85, -5.5, 5.5), (11.85, 12, -5.5, 5.5), (-.07, .07, -5.5, 5.5)):
                c.paint(turned(rect(u0, u1, v0, v1), x, y, angle), WHITE, 0.85)


# -- roads and car parks -------------------------------------------------------
def road(c, path, lanes=1, traffic=0.02, trucks=0.12, kind="asphalt", lined=True, kerb=True, gaps=()):
    """A two-way road along a polyline: surface, kerbs, markings and traffic (vehicles per metre of lane).

    `gaps` are the (from, to) distances along a straight road where no lines are painted.
    """
    rng = c.rng
    lane = rng.uniform(3.2, 3.7) if lined else 2.6
    half = lane * lanes + (0.5 if lined else 0.2)
    path = np.float32(path)
    if lined and kerb:
        c.region(band(path, -half - 0.7, half + 0.7), "concrete" if rng.random() < 0.6 else "gravel", 0.05)
    c.region(band(path, -half, half), kind, 0.0 if lined else 0.3)
    c.claim(band(path, -half - 0.6, half + 0.6))
    step = np.hypot(*np.diff(path, axis=0).T)
    length = np.concatenate([[0], np.cumsum(step)])
    def along(s):
        i = np.clip(np.searchsorted(length, s) - 1, 0, len(step) - 1)
        d = (path[i + 1] - path[i]) / max(step[i], 1e-6)
        return path[i] + d * (s - length[i]), d
    if lined:
        wear = rng.uniform(0.45, 0.95)
        stops = [0.0, *(v for g in gaps for v in g), float(length[-1])]
        pieces = [[along(a)[0], along(b)[0]] for a, b in zip(stops[::2], stops[1::2]) if b > a] if gaps else [path]
        for off in (-half + 0.35, half - 0.35):
            if lanes > 1 or rng.random() < 0.4:
                for p in pieces:
                    c.paint(band(p, off - 0.08, off + 0.08), WHITE, wear)
        if rng.random() < 0.6:
            tone = YELLOW if rng.random() < 0.6 else WHITE
            for off in (-0.18, 0.18):
                for p in pieces:
                    c.paint(band(p, off - 0.07, off + 0.07), tone, wear)
        offsets = [k * lane * sgn for k in range(1, lanes) for sgn in (1, -1)] or [0.0]
        for s in np.arange(0, length[-1], 9.0):
            p, d = along(s)
            if c.inside(p, -20) and not any(a - 3 < s < b for a, b in gaps):
                for o in offsets:
                    c.paint(turned(rect(0, 3, o - 0.08, o + 0.08), *p, np.arctan2(d[1], d[0])), WHITE, wear)
    for k in range(lanes):                                            # traffic: free the lane, not the verge
        for sgn in (1, -1):
            s = rng.exponential(1 / traffic) if traffic else np.inf
            while s < length[-1]:
                v = sprites.truck(rng) if rng.random() < trucks else sprites.car(rng)
                p, d = along(s + v.length / 2)
                n = np.float32([-d[1], d[0]])
                at = p + n * sgn * -(k + 0.5) * lane + n * rng.normal(0, 0.15)
                heading = np.arctan2(d[1], d[0]) + (np.pi if sgn < 0 else 0) + rng.normal(0, 0.015)
                c.place(v, *at, heading, check=False)
                s += v.length + 1.2 + rng.exponential(max(0.5, 1 / traffic - v.length - 1.2))


def bend(c, offset, angle=None, curve=None):
    """A road's centre line across the picture."""
    rng, d = c.rng, c.reach * 1.15
    t = np.linspace(-d, d, 40)
    amp = rng.uniform(0, 0.12) * d if curve is None else curve
    path = np.stack([t, offset + amp * np.sin(t / d * rng.uniform(1, 3) + rng.uniform(0, 6))], 1)
    return turned(path, 0, 0, rng.uniform(0, np.pi) if angle is None else angle)


def car_park(c, x, y, l, w, angle, fill=0.7, surface="asphalt", trucks=0.0):
    """Rows of stalls with aisles between; trucks > 0 makes long stalls."""
    rng = c.rng
    lot = turned(rect(-l / 2, l / 2, -w / 2, w / 2), x, y, angle)
    c.region(lot, surface)
    deep, wide = (rng.uniform(4.8, 5.4), rng.uniform(2.4, 2.8)) if not trucks else (18.5, 3.8)
    aisle = rng.uniform(5.5, 7.0) if not trucks else 14.0
    v, facing, wear = -w / 2 + 0.5, 1, rng.uniform(0.4, 0.95)
    paint = YELLOW if rng.random() < 0.15 else WHITE
    lean = rng.choice([0.0, 0.0, 0.25])
    while v + deep <= w / 2:
        for u in np.arange(-l / 2 + 1.0, l / 2 - wide, wide):
            if not c.inside(turned([(u, v)], x, y, angle)[0], -30):
                continue
            c.paint(turned(np.float32([(u, v), (u + 0.11, v), (u + 0.11 + lean * deep, v + deep), (u + lean * deep, v + deep)]), x, y, angle), paint, wear)
            if rng.random() < fill:
                s = sprites.truck(rng) if trucks and rng.random() < trucks else sprites.car(rng)
                at = turned([(u + wide / 2 + lean * deep / 2 + rng.normal(0, 0.08), v + deep / 2 + rng.normal(0, 0.25))], x, y, angle)[0]
                c.place(s, *at, angle + np.pi / 2 - np.arctan(lean) + np.pi * (rng.random() < 0.4) + rng.normal(0, 0.025), pad=0.0)
        v += deep + (aisle if facing > 0 else 0.3)
        facing = -facing
        if facing > 0 and rng.random() < 0.3:                         # a planted strip
            strip = turned(rect(-l / 2 + 2, l / 2 - 2, v, v + 1.6), x, y, angle)
            c.region(strip, "grass")
            for u in np.arange(-l / 2 + 4, l / 2 - 4, rng.uniform(6, 14)):
                tree(c, *turned([(u, v + 0.8)], x, y, angle)[0], rng.uniform(1.2, 2.4), check=False)
            v += 1.9
    for _ in range(int(rng.integers(0, 4))):                          # cars looking for a stall
        at = turned([(rng.uniform(-0.45, 0.45) * l, rng.uniform(-0.45, 0.45) * w)], x, y, angle)[0]
        c.place(sprites.car(rng), *at, angle + np.pi * rng.integers(2), pad=0.5)
    c.claim(lot)


def along_side(c, path, offset, make, gap, chance, pad=0.1, jitter=0.02):
    """Objects in a line beside a polyline, e.g. kerb parking or a quay."""
    rng = c.rng
    p0, p1 = np.float32(path[0]), np.float32(path[-1])
    d = (p1 - p0) / np.hypot(*(p1 - p0))
    n = np.float32([-d[1], d[0]])
    s, total = rng.uniform(0, 6), np.hypot(*(p1 - p0))
    while s < total:
        o = make(rng)
        if rng.random() < chance:
            c.place(o, *(p0 + d * (s + o.length / 2) + n * offset), np.arctan2(d[1], d[0]) + np.pi * (rng.random() < 0.3) + rng.normal(0, jitter), pad)
        s += o.length + gap + rng.exponential(0.6)
