"""The detector: a small convolutional network with a one-to-one head.

Backbone, top-down and bottom-up neck at strides 8, 16 and 32, and two heads of
the same shape: `many` (several positions answer for an object; training only)
and `one` (a single position answers, so that no suppression is needed).
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

STRIDES = (8, 16, 32)
TOP = 300


class Conv(nn.Sequential):
    """Convolution, batch normalisation, SiLU."""

    def __init__(self, cin, cout, k=1, s=1, groups=1, act=True):
        super().__init__(nn.Conv2d(cin, cout, k, s, k // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(cout, eps=1e-3, momentum=0.03), nn.SiLU(inplace=True) if act else nn.Identity())


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, c, hidden):
        super().__init__()
        self.a, self.b = Conv(c, hidden, 3), Conv(hidden, c, 3)

    def forward(self, x):
        return x + self.b(self.a(x))


class Cross(nn.Module):
    """Two residuals on one of two parallel 1x1 branches."""

    def __init__(self, c):
        super().__init__()
        h = c // 2
        self.a, self.b, self.out = Conv(c, h), Conv(c, h), Conv(2 * h, c)
        self.body = nn.Sequential(Residual(h, h), Residual(h, h))

    def forward(self, x):
        return self.out(torch.cat((self.body(self.a(x)), self.b(x)), 1))


class Stage(nn.Module):
    """Splits the channels, refines one half, and joins every intermediate result."""

    def __init__(self, cin, cout, ratio=0.5, deep=False):
        super().__init__()
        self.h = int(cout * ratio)
        self.enter, self.leave = Conv(cin, 2 * self.h), Conv(3 * self.h, cout)
        self.body = Cross(self.h) if deep else Residual(self.h, self.h // 2)

    def forward(self, x):
        a, b = self.enter(x).split(self.h, 1)
        return self.leave(torch.cat((a, b, self.body(b)), 1))


class Pyramid(nn.Module):
    """Three 5x5 max poolings in a row, joined."""

    def __init__(self, c):
        super().__init__()
        self.enter, self.leave = Conv(c, c // 2), Conv(c * 2, c)

    def forward(self, x):
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.leave(torch.cat(parts, 1))


class Attention(nn.Module):
    """Self-attention over all positions of half of the channels, then a feed-forward step."""

    def __init__(self, c, heads=2):
        super().__init__()
        self.h, self.heads = c // 2, heads
        self.value = self.h // heads
        self.key = self.value // 2
        self.enter, self.leave = Conv(c, c), Conv(c, c)
        self.qkv = Conv(self.h, heads * (2 * self.key + self.value), act=False)
        self.place, self.mix = Conv(self.h, self.h, 3, groups=self.h, act=False), Conv(self.h, self.h, act=False)
        self.feed = nn.Sequential(Conv(self.h, 2 * self.h), Conv(2 * self.h, self.h, act=False))

    def forward(self, x):
        a, b = self.enter(x).split(self.h, 1)
        n, _, h, w = b.shape
        q, k, v = self.qkv(b).view(n, self.heads, 2 * self.key + self.value, h * w).split((self.key, self.key, self.value), 2)
        weight = ((q.transpose(2, 3) @ k) * self.key ** -0.5).softmax(3)
        out = (v @ weight.transpose(2, 3)).reshape(n, self.h, h, w)
        b = b + self.mix(out + self.place(v.reshape(n, self.h, h, w)))
        return self.leave(torch.cat((a, b + self.feed(b)), 1))


class Head(nn.Module):
    """Per level: 4 distances to the box's sides, in strides, and a logit per class."""

    def __init__(self, channels, classes, box_width=32, class_width=64):
        super().__init__()
        self.box = nn.ModuleList(nn.Sequential(Conv(c, box_width, 3), Conv(box_width, box_width, 3), nn.Conv2d(box_width, 4, 1))
                                 for c in channels)
        self.cls = nn.ModuleList(nn.Sequential(Conv(c, c, 3, groups=c), Conv(c, class_width),
                                               Conv(class_width, class_width, 3, groups=class_width),
                                               Conv(class_width, class_width), nn.Conv2d(class_width, classes, 1)) for c in channels)
        for box, cls in zip(self.box, self.cls):
            nn.init.constant_(box[-1].bias, 1.5)
            nn.init.constant_(cls[-1].bias, -6.0)

    def forward(self, features):
        """(n, 4, positions) and (n, classes, positions), levels one after the other."""
        box = torch.cat([m(f).flatten(2) for m, f in zip(self.box, features)], 2)
        cls = torch.cat([m(f).flatten(2) for m, f in zip(self.cls, features)], 2)
        return box, cls


class Detector(nn.Module):
    """Backbone, neck and heads.  In training mode returns raw head outputs."""

    def __init__(self, classes=4):
        super().__init__()
        self.classes = classes
        self.stem = nn.Sequential(Conv(3, 16, 3, 2), Conv(16, 32, 3, 2), Stage(32, 64, 0.25))
        self.to8 = nn.Sequential(Conv(64, 64, 3, 2), Stage(64, 128, 0.25))
        self.to16 = nn.Sequential(Conv(128, 128, 3, 2), Stage(128, 128, 0.5, True))
        self.to32 = nn.Sequential(Conv(128, 256, 3, 2), Stage(256, 256, 0.5, True), Pyramid(256), Attention(256))
        self.up16, self.up8 = Stage(256 + 128, 128), Stage(128 + 128, 64)
        self.shrink8, self.down16 = Conv(64, 64, 3, 2), Stage(64 + 128, 128)
        self.shrink16, self.down32 = Conv(128, 128, 3, 2), Stage(128 + 256, 256, 0.5, True)
        self.many = Head((64, 128, 256), classes)
        self.one = copy.deepcopy(self.many)

    def features(self, x):
        c3 = self.to8(self.stem(x))
        c4 = self.to16(c3)
        c5 = self.to32(c4)
        p4 = self.up16(torch.cat((F.interpolate(c5, scale_factor=2.0, mode="nearest"), c4), 1))
        p3 = self.up8(torch.cat((F.interpolate(p4, scale_factor=2.0, mode="nearest"), c3), 1))
        n4 = self.down16(torch.cat((self.shrink8(p3), p4), 1))
        n5 = self.down32(torch.cat((self.shrink16(n4), c5), 1))
        return p3, n4, n5

    def forward(self, x, share=None):
        """Training: raw outputs of both heads; `share` scales what the `one` head sends back.

        Otherwise (n, 300, 6): x1 y1 x2 y2 in input pixels, score, class, best first.
        """
        f = self.features(x)
        if self.training:
            own = f if share is None else [v * share + v.detach() * (1 - share) for v in f]
            return self.many(f), self.one(own)
        return self.best(f, *self.one(f))

    def positions(self, features):
        """Centres (positions, 2) and strides (positions, 1) in input pixels."""
        centres, strides = [], []
        for f, s in zip(features, STRIDES):
            y = (torch.arange(f.shape[2], device=f.device).to(torch.float32) + 0.5).view(-1, 1) * s
            x = (torch.arange(f.shape[3], device=f.device).to(torch.float32) + 0.5).view(1, -1) * s
            xy = torch.stack((x + y * 0, y + x * 0), -1).view(-1, 2)
            centres.append(xy)
            strides.append(xy[:, :1] * 0 + s)
        return torch.cat(centres), torch.cat(strides)

    def best(self, features, box, cls):
        """The 300 best (position, class) pairs as boxes.  Needs 300 positions or more."""
        centres, strides = self.positions(features)
        near, far = box.transpose(1, 2).split(2, 2)
        box = torch.cat((centres - near * strides, centres + far * strides), 2)
        score = cls.sigmoid().transpose(1, 2)
        place = score.amax(2).topk(TOP, 1)[1].unsqueeze(2)                # positions first, then pairs
        score = score.gather(1, place.repeat(1, 1, self.classes))
        box = box.gather(1, place.repeat(1, 1, 4))
        value, pair = score.flatten(1).topk(TOP, 1)
        value, pair = value.unsqueeze(2), pair.unsqueeze(2)
        row = torch.div(pair, self.classes, rounding_mode="trunc")
        kind = torch.remainder(pair, self.classes).to(value.dtype)
        return torch.cat((box.gather(1, row.repeat(1, 1, 4)), value, kind), 2)


def fuse(model):
    """A copy for inference: batch normalisation folded in, the `many` head dropped."""
    model = copy.deepcopy(model).float().eval()
    model.many = None
    for m in model.modules():
        if isinstance(m, Conv):
            conv = nn.utils.fuse_conv_bn_eval(m[0], m[1])
            m[0], m[1] = conv, nn.Identity()
    return model
