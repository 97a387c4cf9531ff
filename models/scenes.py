"""Renders aerial scenes of cars, trucks, boats and planes with exact boxes.

    python scenes.py --split val --count 640 --out DIR     images and DIR/ground_truth.json (COCO)
    python scenes.py --split samples --out samples         nine larger pictures for trying things out

A scene depends on its split and number alone.  The ranges of seeds of the
splits do not meet, so no scene of `check`, `val` or `samples` is ever trained on.
"""

import argparse
import json
import multiprocessing
import os

import cv2
import numpy as np

import layouts as lay
import sprites
from canvas import Canvas, camera
from layouts import WHITE, YELLOW, turned
from sprites import CLASSES, ellipse, rect

SPLITS = {"train": 0, "check": 1 << 39, "val": 1 << 40, "samples": 1 << 41}
GROUNDS = ["grass", "meadow", "field", "soil", "sand", "gravel", "forest", "snow"]


def any_ground(rng, p=(.3, .2, .16, .1, .1, .06, .05, .03)):
    """A kind of open country."""
    return GROUNDS[rng.choice(len(GROUNDS), p=p)]


# -- kinds of place ------------------------------------------------------------
def town(rng, w, h, ppm, objects):
    """Streets, houses with drives, kerb parking, shops."""
    c = Canvas(rng, w, h, ppm, rng.choice(["grass", "meadow", "concrete", "grass", "soil"]), objects)
    d = c.reach
    block_x, block_y = rng.uniform(45, 100), rng.uniform(34, 70)
    xs = np.arange(-d - rng.uniform(0, block_x), d + block_x, block_x)
    ys = np.arange(-d - rng.uniform(0, block_y), d + block_y, block_y)
    lanes = 2 if rng.random() < 0.25 else 1
    half = 3.6 * lanes + 0.6
    kerb = rng.choice(["concrete", "gravel", "concrete"])
    for y in ys:
        c.region(rect(-d - 9, d + 9, y - half - 1, y + half + 1), kerb)
    for x in xs:
        c.region(rect(x - 5.2, x + 5.2, -d - 9, d + 9), kerb)
    for y in ys:
        lay.road(c, [(-d - 9, y), (0, y), (d + 9, y)], lanes, rng.uniform(0.01, 0.05), 0.1, kerb=False,
                 gaps=[(x + d + 9 - 5, x + d + 9 + (5 if i % 2 else 8.4)) for i, x in enumerate(xs)])
    for x in xs:
        lay.road(c, [(x, -d - 9), (x, 0), (x, d + 9)], 1, rng.uniform(0.005, 0.03), 0.08, kerb=False,
                 gaps=[(y + d + 9 - half - 1, y + d + 9 + half + 1) for y in ys])
    for y in ys:                                                      # zebra crossings where streets meet
        for x in xs[::2]:
            if c.inside((x, y), -60) and rng.random() < 0.8:
                for o in np.arange(-half + 0.4, half - 0.4, 1.0):
                    c.paint(rect(x + 5.2, x + 8.0, y + o, y + o + 0.5), WHITE, 0.85)
        for side in (1, -1):
            if rng.random() < 0.75:
                lane = y + side * (half + 1.5)
                c.region(rect(-d, d, lane - 1.1, lane + 1.1), "asphalt")
                lay.along_side(c, [(-d, lane), (d, lane)], 0.0, sprites.car, 0.6, rng.uniform(0.2, 0.85))
    dense = rng.random()
    for y in ys:
        for x in xs:
            x0, x1, y0, y1 = x + 6, x + block_x - 6, y + half + 3.6, y + block_y - half - 3.6
            if x1 - x0 < 14 or y1 - y0 < 12 or not (abs(x0 + x1) < 2 * d + block_x and abs(y0 + y1) < 2 * d + block_y):
                continue
            use = rng.random()
            if use < 0.62:
                houses(c, x0, x1, y0, y1)
            elif use < 0.8:
                m = x0 + (x1 - x0) * rng.uniform(0.35, 0.6)
                if c.free(rect(m, x1, y0, y1), claim=False):
                    lay.building(c, (x0 + m) / 2 - 1, (y0 + y1) / 2, m - x0 - 3, (y1 - y0) * 0.9, 0, rng.uniform(5, 14), "flat")
                    lay.car_park(c, (m + x1) / 2, (y0 + y1) / 2, x1 - m, y1 - y0, 0, rng.uniform(0.3, 0.95))
            elif use < 0.93:
                for _ in range(6):
                    lay.building(c, rng.uniform(x0 + 8, x1 - 5), rng.uniform(y0 + 6, y1 - 4), rng.uniform(9, 24), rng.uniform(8, 16), 0, rng.uniform(6, 20))
            else:
                lay.clutter(c, (x0 + x1) / 2, (y0 + y1) / 2)
            lay.scatter_trees(c, int(dense * 14), (x0, x1, y0, y1))
    return c


def houses(c, x0, x1, y0, y1):
    """Two rows of houses back to back, each with a drive."""
    rng = c.rng
    for front, back in ((y0, (y0 + y1) / 2), (y1, (y0 + y1) / 2)):
        deep, into, x = abs(back - front), np.sign(back - front), x0
        while x < x1 - 12:
            plot = rng.uniform(13, 19)
            l, w = min(rng.uniform(8, 12), plot - 4.5), min(rng.uniform(7, 11), max(5, deep - 3))
            drive = rect(x + plot - 3.6, x + plot - 0.6, *sorted((front - into * 2, front + into * min(9, deep - 1))))
            c.region(drive, "concrete" if rng.random() < 0.6 else "gravel")
            if rng.random() < 0.65:
                c.place(sprites.car(rng), x + plot - 2.1, front + into * rng.uniform(1.5, 5), np.pi / 2 * rng.choice([1, -1]) + rng.normal(0, 0.04), 0.1)
            lay.building(c, x + l / 2 + 0.4, front + into * (2.5 + w / 2), l, w, 0, rng.uniform(3.5, 7))
            if rng.random() < 0.14:
                lay.clutter(c, x + plot / 2, back - into * 3)
            x += plot


def highway(rng, w, h, ppm, objects):
    """A motorway or a main road through open country."""
    c = Canvas(rng, w, h, ppm, any_ground(rng), objects)
    d = c.reach
    for _ in range(int(rng.integers(0, 4))):                          # fields of another crop
        a, o = rng.uniform(0, np.pi), rng.uniform(-d, d)
        c.region(turned(rect(-2 * d, 2 * d, o, o + rng.uniform(20, 90)), 0, 0, a), any_ground(rng))
    angle, curve = rng.uniform(0, np.pi), rng.uniform(0, 0.12) * d
    load = rng.uniform(0.012, 0.05)
    lanes = int(rng.integers(2, 5)) if rng.random() < 0.75 else 1
    lay.road(c, lay.bend(c, rng.uniform(-0.3, 0.3) * d, angle, curve), lanes, load, rng.uniform(0.08, 0.35))
    if rng.random() < 0.5:
        lay.road(c, lay.bend(c, rng.choice([-1, 1]) * rng.uniform(0.45, 0.8) * d, angle + rng.normal(0, 0.08), 0), int(rng.integers(1, 3)), rng.uniform(0.01, 0.05), 0.15)
    if rng.random() < 0.35:
        lay.road(c, lay.bend(c, rng.uniform(-0.5, 0.5) * d, angle + np.pi / 2), 1, rng.uniform(0.005, 0.03), 0.15)
    if rng.random() < 0.4:
        farm(c)
    lay.scatter_trees(c, int(rng.integers(0, 110)))
    return c


def farm(c):
    """A few buildings, a yard with vehicles, bales."""
    rng, d = c.rng, c.reach
    x, y, a = *rng.uniform(-0.6 * d, 0.6 * d, 2), rng.uniform(0, np.pi)
    yard = turned(rect(-16, 16, -13, 13, 4), x, y, a)
    if not c.free(yard, claim=False):
        return
    c.region(yard, "gravel", 0.5)
    for _ in range(4):
        lay.building(c, x + rng.normal(0, 14), y + rng.normal(0, 14), rng.uniform(8, 26), rng.uniform(7, 14), a, rng.uniform(4, 8))
    for _ in range(int(rng.integers(0, 6))):
        v = sprites.truck(rng) if rng.random() < 0.3 else sprites.car(rng)
        c.place(v, x + rng.normal(0, 8), y + rng.normal(0, 8), a + rng.normal(0, 0.6), 0.5)
    lay.clutter(c, x + rng.normal(0, 20), y + rng.normal(0, 20), a)


def shopping(rng, w, h, ppm, objects):
    """Large car parks and halls."""
    c = Canvas(rng, w, h, ppm, rng.choice(["grass", "meadow", "concrete", "asphalt", "sand"]), objects)
    d = c.reach
    y = rng.uniform(-0.9, 0.2) * d
    if rng.random() < 0.7:
        lay.road(c, [(-d - 9, y - 9), (0, y - 9), (d + 9, y - 9)], int(rng.integers(1, 3)), rng.uniform(0.01, 0.05))
    fill = rng.uniform(0.25, 0.97)
    x = -d
    while x < d:
        l = rng.uniform(40, 110)
        if rng.random() < 0.8:
            lay.car_park(c, x + l / 2, y + 1 + 0.45 * d, l - 3, 0.85 * d, 0, fill, "asphalt" if rng.random() < 0.85 else "concrete")
        x += l
    for x in np.arange(-d, d, 60):
        lay.building(c, x + 25, y + 0.98 * d + 22, rng.uniform(30, 58), rng.uniform(20, 38), 0, rng.uniform(6, 12), "flat")
        lay.building(c, x + 20, y - 0.4 * d, rng.uniform(12, 40), rng.uniform(10, 30), 0, rng.uniform(4, 12))
    for _ in range(int(rng.integers(0, 5))):
        lay.clutter(c, *rng.uniform(-d, d, 2), 0)
    lay.scatter_trees(c, int(rng.integers(5, 60)))
    return c


def logistics(rng, w, h, ppm, objects):
    """Warehouses with docked trucks, containers, a truck park."""
    c = Canvas(rng, w, h, ppm, rng.choice(["concrete", "asphalt", "gravel", "soil"]), objects)
    d = c.reach
    y = -d + rng.uniform(0, 30)
    while y < d:
        depth = rng.uniform(26, 48)
        x = -d - rng.uniform(0, 40)
        while x < d:
            l = rng.uniform(40, 90)
            lay.building(c, x + l / 2, y + depth / 2, l - 8, depth, 0, rng.uniform(7, 12), "flat")
            for u in np.arange(x + 5, x + l - 6, rng.uniform(4.0, 5.5)):
                c.paint(rect(u - 2, u - 1.85, y + depth, y + depth + 18), YELLOW, 0.7)
                if rng.random() < 0.5:
                    t = sprites.truck(rng)
                    c.place(t, u, y + depth + 0.8 + t.length / 2, np.pi / 2 + rng.normal(0, 0.02), 0.1)
            x += l
        yard = y + depth + 32
        pick = rng.random()
        if pick < 0.35:
            lay.car_park(c, rng.uniform(-0.3, 0.3) * d, yard + 12, d * 1.5, 42, 0, rng.uniform(0.3, 0.8), "asphalt", 0.85)
        elif pick < 0.65:
            lay.car_park(c, rng.uniform(-0.3, 0.3) * d, yard + 9, d * 1.5, 20, 0, rng.uniform(0.3, 0.9))
        else:
            for _ in range(12):
                lay.clutter(c, rng.uniform(-d, d), yard + rng.uniform(-4, 20), np.pi / 2 * rng.integers(2))
        for _ in range(8):
            v = sprites.truck(rng) if rng.random() < 0.6 else sprites.car(rng)
            c.place(v, rng.uniform(-d, d), y + depth + rng.uniform(19, 32), np.pi * rng.integers(2) + rng.normal(0, 0.15), 0.6)
        y += depth + rng.uniform(60, 80)
    lay.scatter_trees(c, int(rng.integers(0, 25)))
    return c


def wake(c, x, y, heading, boat):
    """The white trail behind a moving boat: churned water and two bow waves."""
    l, w = boat.length, boat.width
    long, n = l * c.rng.uniform(1.2, 4.0), 7
    for k in range(n):
        f0, f1 = k / n, (k + 1) / n
        strength = c.rng.uniform(0.75, 1.0) * (1 - f0) ** 1.3
        a, b = -l * 0.45 - f0 * long, -l * 0.45 - f1 * long
        v0, v1 = w * (0.28 + 0.35 * f0), w * (0.28 + 0.35 * f1)
        c.foam.append((turned([(a, v0), (b, v1), (b, -v1), (a, -v0)], x, y, heading), strength * 0.8))
        for s in (1, -1):
            a, b = l * 0.25 - f0 * long, l * 0.25 - f1 * long
            v0, v1 = s * (w * 0.45 + f0 * long * 0.2), s * (w * 0.45 + f1 * long * 0.2)
            t = s * w * (0.10 + 0.12 * f1)
            c.foam.append((turned([(a, v0), (b, v1), (b, v1 - t), (a, v0 - t)], x, y, heading), strength * 0.7))


def sail(c, count, area, moving=0.5, big=None):
    """Boats at anchor or under way."""
    rng = c.rng
    wind = rng.uniform(0, 2 * np.pi)
    for _ in range(count):
        b = sprites.boat(rng, big)
        x, y = rng.uniform(*area[:2]), rng.uniform(*area[2:])
        go = rng.random() < moving
        heading = rng.uniform(0, 2 * np.pi) if go else wind + rng.normal(0, 0.25)
        if c.place(b, x, y, heading, 1.0) and go:
            wake(c, x, y, heading, b)


def marina(rng, w, h, ppm, objects):
    """A quay with car park, piers full of boats, boats under way."""
    c = Canvas(rng, w, h, ppm, "water", objects)
    d = c.reach
    shore = rng.uniform(-0.7, 0.1) * d
    land = rng.choice(["concrete", "grass", "gravel", "asphalt", "sand"])
    edge = [(x, shore + (rng.normal(0, 1.2) if land in ("grass", "sand", "gravel") else 0)) for x in np.linspace(-2 * d, 2 * d, 90)]
    c.region(np.float32(edge + [(2 * d, -2 * d), (-2 * d, -2 * d)]), land, 0.25)
    c.region(rect(-2 * d, 2 * d, shore - 4, shore + 0.6), "concrete")
    if shore > -0.55 * d:
        if rng.random() < 0.8:
            lay.car_park(c, rng.uniform(-0.3, 0.3) * d, shore - 17, d * rng.uniform(0.8, 1.6), 24, 0, rng.uniform(0.2, 0.9))
        lay.road(c, [(-d - 9, shore - 36), (0, shore - 36), (d + 9, shore - 36)], 1, rng.uniform(0.005, 0.04))
        for x in np.arange(-d, d, 30):
            lay.building(c, x, shore - 55, rng.uniform(9, 26), rng.uniform(9, 20), 0, rng.uniform(4, 11))
    wood = np.float32([(150, 132, 108), (176, 168, 156), (122, 104, 86)][rng.integers(3)])
    x, big = -d + rng.uniform(0, 20), rng.random() < 0.25
    while x < d:
        berth = rng.uniform(18, 26) if big else rng.uniform(9, 14)
        long = rng.uniform(0.4, 1.3) * d
        pier = rect(x - 1.1, x + 1.1, shore - 1, shore + long)
        c.paint(pier + c.sun * c.slant * 1.2, (24, 40, 48), 0.6)
        c.paint(pier, wood)
        for v in np.arange(shore, shore + long, 0.9):
            c.paint(rect(x - 1.1, x + 1.1, v, v + 0.12), wood * 0.85)
        c.claim(pier)
        load, v = rng.uniform(0.3, 0.98), shore + 5
        while v < shore + long - 3:
            step = 0.0
            for side in (1, -1):
                b = sprites.boat(rng, big and rng.random() < 0.7)
                if rng.random() < load and b.length < berth * 1.25:
                    nose = np.pi * (rng.random() < 0.6) + (0 if side > 0 else np.pi)
                    c.place(b, x + side * (1.5 + b.length / 2), v + b.width / 2, nose + rng.normal(0, 0.03), 0.05)
                step = max(step, b.width)
            if not big and rng.random() < 0.5:
                c.paint(rect(x - berth * 0.7, x + berth * 0.7, v - 0.35, v - 0.05), wood * 0.95)
            v += step + rng.uniform(0.5, 1.2)
        x += 2 * berth + rng.uniform(5, 16)
    sail(c, int(rng.integers(0, 14)), (-d, d, shore + 8, d), 0.6)
    for _ in range(int(rng.integers(0, 8))):
        buoy(c, rng.uniform(-d, d), rng.uniform(shore + 5, d))
    lay.scatter_trees(c, int(rng.integers(0, 40)), (-d, d, -d, shore - 6))
    return c


def buoy(c, x, y):
    """A buoy, a rock or a swimming platform: none of the classes."""
    rng = c.rng
    r = rng.uniform(0.4, 1.0)
    if rng.random() < 0.5:
        tone = [(214, 96, 40), (236, 214, 60), (226, 60, 48), (238, 238, 236)][rng.integers(4)]
        p = turned(ellipse(0, 0, r, r, 12), x, y, 0)
        c.paint(p + c.sun * r, (20, 34, 40), 0.5)
        c.paint(p, tone)
    elif rng.random() < 0.6:
        for _ in range(int(rng.integers(3, 12))):
            t = np.linspace(0, 2 * np.pi, 13, endpoint=False)
            size = r * rng.uniform(0.4, 2.2) * rng.uniform(0.7, 1.2, 13)
            p = turned(np.stack([np.cos(t) * size, np.sin(t) * size * 0.75], 1), x + rng.normal(0, 3), y + rng.normal(0, 3), rng.uniform(0, 3))
            c.foam.append(((p - p.mean(0)) * 1.6 + p.mean(0), 0.7))
            c.paint(p, np.float32((92, 88, 82)) * rng.uniform(0.7, 1.2))
            c.paint((p - p.mean(0)) * 0.6 + p.mean(0) - c.sun * 0.2 * r, np.float32((124, 116, 106)) * rng.uniform(0.8, 1.1))
    else:
        c.paint(turned(rect(-2.2, 2.2, -2.2, 2.2, 0.2), x, y, rng.uniform(0, 3)), (168, 144, 112))


def open_water(rng, w, h, ppm, objects):
    """Boats at anchor and under way, perhaps an island or a coast."""
    c = Canvas(rng, w, h, ppm, "water", objects)
    d = c.reach
    for _ in range(int(rng.integers(0, 3))):
        x, y, r = *rng.uniform(-d, d, 2), rng.uniform(0.12, 0.5) * d
        t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        wob = 1 + sum(rng.normal(0, 0.16 / k) * np.cos(k * t + rng.uniform(0, 6)) for k in range(1, 7))
        isle = np.stack([np.cos(t), np.sin(t)], 1) * (r * wob)[:, None]
        c.region(turned(isle * 1.12, x, y, 0), "water", 1.5)
        c.region(turned(isle, x, y, 0), "sand", 0.7)
        c.region(turned(isle * 0.86, x, y, 0), rng.choice(["grass", "forest", "soil"]), 1.0)
        c.claim(turned(isle, x, y, 0))
        c.islands = True
        for _ in range(int(r * 1.5)):
            a, q = rng.uniform(0, 6.3), np.sqrt(rng.random()) * r * 0.7
            lay.tree(c, x + q * np.cos(a), y + q * np.sin(a), check=False)
    sail(c, int(rng.integers(16, 70)), (-d, d, -d, d), rng.uniform(0, 0.8), rng.choice([None, None, False, True]))
    for _ in range(int(rng.integers(0, 14))):
        buoy(c, *rng.uniform(-d, d, 2))
    return c


def airport(rng, w, h, ppm, objects):
    """Runway, taxiway, apron with planes, service vehicles, terminal or hangars."""
    c = Canvas(rng, w, h, ppm, rng.choice(["grass", "meadow", "soil", "concrete", "sand"], p=[.4, .25, .1, .15, .1]), objects)
    d = c.reach
    light = rng.random() < (0.55 if d > 45 else 0.85)                 # light aircraft only
    y = -d * rng.uniform(0.5, 0.95)
    broad = rng.uniform(18, 26) if light else rng.uniform(38, 50)
    c.region(rect(-2 * d, 2 * d, y - broad / 2, y + broad / 2), "asphalt", 0.05)   # runway
    c.claim(rect(-2 * d, 2 * d, y - broad / 2, y + broad / 2))
    for x in np.arange(-d, d, 50):
        c.paint(rect(x, x + 28, y - 0.5, y + 0.5), WHITE, 0.85)
    for e in (-1, 1):
        c.paint(rect(-2 * d, 2 * d, y + e * (broad / 2 - 1.4) - 0.35, y + e * (broad / 2 - 1.4) + 0.35), WHITE, 0.85)
    if rng.random() < 0.5:
        x = rng.uniform(-0.5, 0.5) * d
        for o in np.arange(-broad / 2 + 3, broad / 2 - 3, 3.4):
            c.paint(rect(x, x + 24, y + o, y + o + 1.7), WHITE, 0.8)
    for _ in range(int(rng.integers(0, 3))):
        c.place(sprites.plane(rng, light), rng.uniform(-d, d), y + rng.normal(0, 1), np.pi * rng.integers(2) + rng.normal(0, 0.03), 1)
    apron = y + broad / 2 + rng.uniform(8, 24)
    c.region(rect(-2 * d, 2 * d, apron, 2 * d), "concrete" if rng.random() < 0.7 else "asphalt", 0.1)
    pitch = rng.uniform(13, 17) if light else rng.uniform(34, 50)
    v, first = apron + pitch * 0.7, True
    while v < d + pitch / 2:
        if first or rng.random() < 0.35:                              # taxi lane
            c.paint(rect(-2 * d, 2 * d, v - 0.2, v + 0.2), YELLOW, 0.9)
            for _ in range(int(rng.integers(0, 4))):
                s = [sprites.plane(rng, True), sprites.car(rng), sprites.truck(rng)][rng.integers(3)]
                c.place(s, rng.uniform(-d, d), v, np.pi * rng.integers(2) + rng.normal(0, 0.05), 1)
            v += pitch * 0.9
        load, nose = rng.uniform(0.4, 0.95), rng.choice([-1, 1]) * np.pi / 2 + rng.choice([0, 0, 0.5])
        for x in np.arange(-d - rng.uniform(0, pitch), d + pitch, pitch):
            c.paint(rect(x - 0.15, x + 0.15, v - pitch * 0.4, v + pitch * 0.4), YELLOW, 0.8)
            if rng.random() < load:
                p = sprites.plane(rng, light or rng.random() < 0.1)
                if c.place(p, x, v, nose + rng.normal(0, 0.04), 0.2) and not light:
                    for _ in range(int(rng.integers(0, 7))):          # service vehicles around it
                        s = sprites.truck(rng) if rng.random() < 0.4 and ppm < 9 else sprites.car(rng)
                        a = rng.uniform(0, 6.3)
                        c.place(s, x + np.cos(a) * p.width * 0.42, v + np.sin(a) * p.length * 0.42, rng.uniform(0, 6.3), 0.2, check=rng.random() < 0.7)
        v += pitch * rng.uniform(1.0, 1.15)
        if rng.random() < 0.4:                                        # hangars or a terminal
            for x in np.arange(-d, d, 42):
                lay.building(c, x, v + 4, rng.uniform(20, 40), rng.uniform(14, 24), 0, rng.uniform(6, 14), "flat")
            v += 20
            if rng.random() < 0.6:
                lay.car_park(c, 0, v + 14, 2 * d, 24, 0, rng.uniform(0.2, 0.9))
                v += 34
        first = False
    return c


def country(rng, w, h, ppm, objects):
    """Fields, woods, tracks, a pond: little traffic."""
    c = Canvas(rng, w, h, ppm, any_ground(rng), objects)
    d = c.reach
    for _ in range(int(rng.integers(1, 6))):
        a, o = rng.uniform(0, np.pi), rng.uniform(-d, d)
        c.region(turned(rect(-2 * d, 2 * d, o, o + rng.uniform(10, 70)), 0, 0, a), any_ground(rng), rng.choice([0, 0.5]))
    if rng.random() < 0.4:
        x, y, r = *rng.uniform(-d, d, 2), rng.uniform(0.15, 0.4) * d
        pond = turned(ellipse(0, 0, r, r * rng.uniform(0.5, 1), 40), x, y, rng.uniform(0, 3))
        c.region((pond - pond.mean(0)) * 1.1 + pond.mean(0), "soil", 0.8)
        c.region(pond, "water", 0.4)
        c.claim(pond)
        sail(c, 3, (x - r / 2, x + r / 2, y - r / 2, y + r / 2), 0.0, False)
    for _ in range(int(rng.integers(1, 3))):
        dirt = rng.random() < 0.6
        lay.road(c, lay.bend(c, rng.uniform(-0.8, 0.8) * d), 1, rng.uniform(0.0, 0.04), 0.3, "soil" if dirt else "asphalt", not dirt)
    for _ in range(int(rng.integers(0, 3))):
        farm(c)
    for _ in range(int(rng.integers(0, 6))):
        lay.clutter(c, *rng.uniform(-d, d, 2), rng.uniform(0, 3))
    if rng.random() < 0.4:
        x, y = rng.uniform(-d, d, 2)
        lay.car_park(c, x, y, rng.uniform(20, 50), rng.uniform(16, 40), rng.uniform(0, 3), rng.uniform(0.3, 0.9), rng.choice(["gravel", "soil", "asphalt"]))
    lay.scatter_trees(c, int(rng.integers(10, 240)))
    return c


PLACES = [(town, .2), (highway, .15), (shopping, .13), (logistics, .11), (marina, .14), (open_water, .1), (airport, .13), (country, .04)]
EMPTY = [.13, .13, .1, .08, .14, .16, .1, .16]


# -- scenes and sets -------------------------------------------------------------
def scene(split, number, size=None, least=1, where=None, ppm=None):
    """Renders scene `number` of a split: (RGB image, boxes (n, 5) of class x1 y1 x2 y2).

    Every fifth scene shows none of the classes; the others show at least `least`.
    `where` and `ppm` fix the kind of place and the pixels a metre.
    """
    tries = 0
    while True:
        rng = np.random.default_rng([SPLITS[split] + number, tries])
        w, h = size or ((640, 640), (640, 640), (640, 480), (512, 640), (640, 640))[rng.integers(5)]
        empty = number % 5 == 4
        share = EMPTY if empty else [p for _, p in PLACES]
        place = where or PLACES[rng.choice(len(PLACES), p=share)][0]
        scale = rng.uniform(0, 1)
        lo, hi = (3.6, 12.0) if place is airport else (4.5, 12.0) if place in (logistics, open_water) else (5.0, 18.0)
        image, boxes = place(rng, w, h, ppm or lo * (hi / lo) ** scale, not empty).render()
        if empty or len(boxes) >= least:
            return camera(image, rng), np.float32(boxes).reshape(-1, 5)
        tries += 1


def _write(job):
    split, number, size, least, path, jpeg, *rest = job
    cv2.setNumThreads(1)
    image, boxes = scene(split, number, size, least, *rest)
    options = [cv2.IMWRITE_JPEG_QUALITY, jpeg, cv2.IMWRITE_JPEG_OPTIMIZE, 1] if jpeg else [cv2.IMWRITE_PNG_COMPRESSION, 4]
    cv2.imwrite(path, image[..., ::-1], options)
    return image.shape[:2], boxes


def coco(files, results):
    """The ground truth of a set as a COCO document."""
    doc = {"info": {"description": "Osprey aerial scenes (rendered)"}, "images": [], "annotations": [],
           "categories": [{"id": i, "name": n} for i, n in enumerate(CLASSES)]}
    for i, (name, ((h, w), boxes)) in enumerate(zip(files, results), 1):
        doc["images"].append({"id": i, "file_name": name, "width": w, "height": h})
        for c, x1, y1, x2, y2 in boxes.tolist():
            doc["annotations"].append({"id": len(doc["annotations"]) + 1, "image_id": i, "category_id": int(c), "iscrowd": 0,
                                       "bbox": [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)],
                                       "area": round((x2 - x1) * (y2 - y1), 2)})
    return doc


SAMPLES = ((0, 1280, 960, town, 9), (1, 1280, 720, marina, 8), (2, 960, 720, airport, 4.5), (3, 1920, 1080, shopping, 10),
           (4, 960, 720, country, 8), (5, 1280, 853, highway, 9), (16, 1024, 1024, open_water, 7), (7, 1440, 960, logistics, 8),
           (13, 1280, 960, airport, 5))


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--split", choices=SPLITS, default="val")
    ap.add_argument("--count", type=int, default=640)
    ap.add_argument("--first", type=int, default=0)
    ap.add_argument("--out", required=True)
    ap.add_argument("--jpeg", type=int, default=None, help="JPEG quality (val: PNG unless given; samples: 85)")
    ap.add_argument("--workers", type=int, default=os.cpu_count())
    a = ap.parse_args()
    os.makedirs(a.out, exist_ok=True)
    jpeg = a.jpeg if a.jpeg is not None else (85 if a.split == "samples" else 0)
    name = f"{a.split}_{{:05d}}.{'jpg' if jpeg else 'png'}"
    least = 15 if a.split != "train" else 1
    if a.split == "samples":
        jobs = [(a.split, n, (w, h), least, os.path.join(a.out, name.format(n)), jpeg, where, ppm)
                for n, w, h, where, ppm in SAMPLES]
    else:
        jobs = [(a.split, n, None, least, os.path.join(a.out, name.format(n)), jpeg) for n in range(a.first, a.first + a.count)]
    with multiprocessing.Pool(a.workers) as pool:
        results = list(pool.imap(_write, jobs, 4))
    files = [os.path.basename(j[4]) for j in jobs]
    with open(os.path.join(a.out, "ground_truth.json"), "w") as f:
        json.dump(coco(files, results), f)
    sizes = np.concatenate([np.sqrt((b[:, 3] - b[:, 1]) * (b[:, 4] - b[:, 2])) for _, b in results])
    classes = np.concatenate([b[:, 0] for _, b in results]).astype(int)
    print(f"{len(files)} images, {sum(len(b) == 0 for _, b in results)} empty, {len(sizes)} objects "
          f"({', '.join(f'{n} {k}' for n, k in zip(CLASSES, np.bincount(classes, minlength=4)))}), "
          f"{np.mean(sizes < 32):.0%} under 32 pixels, {np.mean(sizes >= 96):.0%} over 96")


if __name__ == "__main__":
    main()
