"""Training loss: task-aligned assignment for both heads, classification and box terms."""

import math

import torch
import torch.nn.functional as F


def corners(distances, centres, strides):
    """Boxes x1 y1 x2 y2 from distances in strides: (..., positions, 4)."""
    near, far = distances.split(2, -1)
    return torch.cat((centres - near * strides, centres + far * strides), -1)


def overlap(a, b):
    """IoU of boxes that broadcast against each other."""
    w = (torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0)
    h = (torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])).clamp(min=0)
    inter = w * h
    area_a = (a[..., 2] - a[..., 0]).clamp(min=0) * (a[..., 3] - a[..., 1]).clamp(min=0)
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return inter / (area_a + area_b - inter + 1e-7)


def complete_iou(a, b):
    """IoU less the penalties for distance and for another aspect ratio."""
    iou = overlap(a, b)
    cw = torch.maximum(a[..., 2], b[..., 2]) - torch.minimum(a[..., 0], b[..., 0])
    ch = torch.maximum(a[..., 3], b[..., 3]) - torch.minimum(a[..., 1], b[..., 1])
    d = ((a[..., 0] + a[..., 2] - b[..., 0] - b[..., 2]) ** 2 + (a[..., 1] + a[..., 3] - b[..., 1] - b[..., 3]) ** 2) / 4
    wa, ha = (a[..., 2] - a[..., 0]).clamp(min=0.1), (a[..., 3] - a[..., 1]).clamp(min=0.1)
    wb, hb = b[..., 2] - b[..., 0], b[..., 3] - b[..., 1]
    v = 4 / math.pi ** 2 * (torch.atan(wb / (hb + 1e-7)) - torch.atan(wa / ha)) ** 2
    with torch.no_grad():
        alpha = v / (v - iou + 1 + 1e-7)
    return iou - d / (cw ** 2 + ch ** 2 + 1e-7) - alpha * v


def alignment(score, box, centres, gt_box, gt_class, valid, least=6.0):
    """score^0.5 * IoU^6 of every object with every position inside it, and the IoU: (n, objects, positions)."""
    iou = overlap(box[:, None], gt_box[:, :, None])
    mid, half = (gt_box[..., :2] + gt_box[..., 2:]) / 2, ((gt_box[..., 2:] - gt_box[..., :2]) / 2).clamp(min=least)
    off = (centres[None, None] - mid[:, :, None]).abs()
    near = (off[..., 0] < half[..., 0, None]) & (off[..., 1] < half[..., 1, None]) & valid[..., None]
    index = gt_class[..., None].expand(-1, -1, score.shape[1])
    s = score.transpose(1, 2).gather(1, index)
    return torch.where(near, s.sqrt() * iou ** 6, -1.0), iou


@torch.no_grad()
def assign(align, score, box, centres, gt_box, gt_class, valid, k):
    """Gives each object its k best-aligned positions; a contested position goes to the larger IoU.

    Returns flat lists: image, position, object, and the classification target of each pair.
    """
    n = valid.shape[0]
    metric, iou = align(score, box, centres, gt_box, gt_class, valid)
    value, place = metric.topk(k, 2)
    pair_iou = iou.gather(2, place)
    good = value >= 0
    flat = (torch.arange(n, device=place.device)[:, None, None] * score.shape[1] + place)
    best = torch.full((n * score.shape[1],), -1.0, device=score.device)
    tie = pair_iou + 1e-6 * torch.rand_like(pair_iou)
    best.scatter_reduce_(0, flat.flatten(), torch.where(good, tie, -1.0).flatten(), "amax")
    good &= tie >= best[flat]
    value = torch.where(good, value, 0.0)
    top_value = value.amax(2, keepdim=True)
    top_iou = torch.where(good, pair_iou, 0.0).amax(2, keepdim=True)
    target = value / (top_value + 1e-9) * top_iou
    image, obj, rank = good.nonzero(as_tuple=True)
    return image, place[image, obj, rank], obj, target[image, obj, rank]


def head_loss(align, distances, logits, centres, strides, gt_box, gt_class, valid, k):
    """The loss of one head: (total, parts)."""
    distances, logits = distances.float().transpose(1, 2), logits.float().transpose(1, 2)
    box = corners(distances, centres, strides)
    image, place, obj, target = assign(align, logits.detach().sigmoid(), box.detach(), centres, gt_box, gt_class, valid, k)
    want = torch.zeros_like(logits)
    want[image, place, gt_class[image, obj]] = target
    norm = want.sum().clamp(min=1)
    cls = F.binary_cross_entropy_with_logits(logits, want, reduction="sum") / norm
    b, t, w = box[image, place], gt_box[image, obj], target[:, None]
    iou = ((1 - complete_iou(b, t)) * target).sum() / norm
    side = ((b - t).abs() / strides[place].clamp(max=16) * w).sum() / norm / 4
    return 0.5 * cls + 7.5 * iou + 1.0 * side, torch.stack((cls, iou, side)).detach()


def total_loss(align, outputs, centres, strides, gt_box, gt_class, valid, many_weight):
    """Both heads together: ten positions an object for `many`, one for `one`."""
    many, pm = head_loss(align, *outputs[0], centres, strides, gt_box, gt_class, valid, 10)
    one, po = head_loss(align, *outputs[1], centres, strides, gt_box, gt_class, valid, 1)
    return many_weight * many + one, torch.cat((pm, po))
