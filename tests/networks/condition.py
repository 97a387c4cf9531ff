"""Conditions a randomly initialised Ultralytics detector, so that its outputs depend on its input.

As it comes, such a network is a constant function: batch-norm statistics of 0 and 1 let the signal
die out. Here the statistics are estimated on rendered scenes, layer after layer in one pass (each
layer normalises with its own batch, so what follows sees conditioned inputs), and the last
convolutions of the heads are scaled: class scores span LOW..HIGH over anchors, distances vary.

And such a network is chaotic, as no trained one is: it makes a small difference of its input, or a
rounding, larger with every layer. A layer that normalises and then applies f to what is normal with
mean b and deviation 1 multiplies it by sqrt(E[f'^2] / Var[f]): 1 for a linear f, 1.10 for a SiLU at
b = 0 and 1.03 at b = 1, 1.21 for a ReLU at 0, 1.06 at 1 and 1.01 at 2. And where f bends at the mean,
scenes of more contrast than those of the statistics gain more in every layer. Without a bias the maps
of yolo11m were 50 to 280 times as far off as its input, relative to their spread, and had deviations
from 0.3 to 2.5 by scene; our trained model's are 2 times as far off. So batch norms before an
activation have a bias.
"""

import math

import numpy as np
import torch
from torch import nn

import scenes

LOW, HIGH = 0.05, 0.95
COUNT, SIZE = 6, 640        # scenes that the statistics come from
LOW_QUANTILE = 0.02         # of the scores over anchors and classes
HIGH_QUANTILES = 0.9999, 0.9997, 0.999, 0.997, 0.99     # the first that keeps images apart
APART = 0.8                 # median cosine of two images' logits or distances
LOGIT_LOW, LOGIT_HIGH = math.log(LOW / (1 - LOW)), math.log(HIGH / (1 - HIGH))
BIN_STD, BIN_SLOPE = 4.0, -0.5          # logits of the 16 bins of a distance: short ones likelier
DISTANCE_MEAN = 3.0         # of a distance regressed directly, in strides
DISTANCE_STDS = 1.0, 1.4, 2.0, 2.8      # the first that keeps images apart
BIASES = {nn.SiLU: 1.0, nn.ReLU: 2.0}   # of batch norms before an activation, in standard deviations
# RT-DETR. Its queries are the best of some thousand places, and rounding swaps those next to the last;
# the fewer, the further scores are apart. So there the classes of a place rise and fall together, as
# they do with an object and without. And six decoder layers sample random maps at places that they
# move themselves, which is chaotic unless each layer's share is small.
OBJECTNESS = 1.5            # deviation of what all classes share, to that of each alone
OFFSET_STD, ATTENTION_STD = 0.02, 0.05  # weights that choose where a decoder layer looks
CROSS_GAIN = 0.2            # what a decoder layer adds of what it has seen there
ENCODER_BOX_STD, DECODER_BOX_STD = 0.1, 0.05    # weights that move a box, at first and by layer


def estimate_statistics(model, images):
    """Sets every batch norm's running statistics to those of `images`."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [m.momentum for m in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        model(images)
    for norm, momentum in zip(norms, kept):
        norm.eval()
        norm.momentum = momentum


def variances(model, images):
    """(lowest, highest) mean variance over channels of any batch norm's output."""
    found, hooks = [], []
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            hooks.append(norm.register_forward_hook(
                lambda m, i, o: found.append(float(o.var(dim=(0, 2, 3)).mean()))))
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return min(found), max(found)


def recorded(model, modules, images):
    """The outputs of `modules` in one pass, in their order."""
    found = {}
    hooks = [m.register_forward_hook(lambda m, i, o: found.setdefault(m, o)) for m in modules]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return [found[m] for m in modules]


def rescale(layer, gain, offset):
    """Makes the layer's output y become y * gain + offset, by channel."""
    with torch.no_grad():
        layer.weight.mul_(gain.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        layer.bias.copy_(layer.bias * gain + offset)


def standardise(layer, output, channel, mean=0.0, std=1.0):
    """Gives each channel of the layer's output a mean and a standard deviation; the new output."""
    axes = [a for a in range(output.ndim) if a != channel]
    shape = [-1 if a == channel else 1 for a in range(output.ndim)]
    gain = std / output.std(dim=axes).clamp(min=1e-6)
    offset = mean - output.mean(dim=axes) * gain
    rescale(layer, gain, offset)
    return output * gain.reshape(shape) + offset.reshape(shape)


def median_cosine(rows):
    """The median cosine between two different rows."""
    unit = rows / rows.norm(dim=1, keepdim=True)
    pairs = torch.triu_indices(len(rows), len(rows), 1)
    return float((unit @ unit.T)[pairs[0], pairs[1]].median())


def span_scores(layers, outputs, low_quantile=LOW_QUANTILE):
    """Scales score layers together, so that the scores' outer quantiles are LOW and HIGH."""
    rows = torch.cat([o.flatten(1) for o in outputs], 1)        # one an image
    every = rows.flatten().numpy()
    low = float(np.quantile(every, low_quantile))
    for quantile in HIGH_QUANTILES:
        gain = (LOGIT_HIGH - LOGIT_LOW) / (float(np.quantile(every, quantile)) - low)
        offset = LOGIT_LOW - low * gain
        if median_cosine(rows * gain + offset) < APART:
            break
    for layer in layers:
        rescale(layer, torch.full_like(layer.bias, gain), offset)


def spread_distances(layers, outputs):
    """Gives distances that are regressed directly their mean and a spread.

    The long tail of every channel is turned upwards, so that few boxes are inside out.
    """
    turned = []
    for layer, output in zip(layers, outputs):
        output = standardise(layer, output, 1)
        sign = torch.sign((output**3).mean(dim=(0, 2, 3)))
        rescale(layer, sign, 0.0)
        turned.append(output * sign.reshape(1, -1, 1, 1))
    outputs = turned
    rows = torch.cat([o.flatten(1) for o in outputs], 1)
    for std in DISTANCE_STDS:
        if median_cosine(rows * std + DISTANCE_MEAN) < APART:
            break
    for layer in layers:
        rescale(layer, torch.full_like(layer.bias, std), DISTANCE_MEAN)


def condition_detect(model, head, images, low_quantile):
    """The last convolutions of Detect, both branches where there are two."""
    for boxes, classes in (("cv2", "cv3"), ("one2one_cv2", "one2one_cv3")):
        if getattr(head, boxes, None) is None:
            continue
        distance = [branch[-1] for branch in getattr(head, boxes)]
        score = [branch[-1] for branch in getattr(head, classes)]
        outputs = recorded(model, distance + score, images)
        if head.reg_max > 1:
            slope = BIN_SLOPE * torch.arange(head.reg_max).repeat(4)
            for layer, output in zip(distance, outputs):
                standardise(layer, output, 1, slope, BIN_STD)
        else:
            spread_distances(distance, outputs)
        outputs = outputs[len(distance):]
        span_scores(score, [standardise(s, o, 1) for s, o in zip(score, outputs)],
                    low_quantile)


def randomise_decoder(head):
    """Undoes the zeros with which RT-DETR's decoder starts, and keeps its layers contractive."""
    with torch.no_grad():
        for layer in head.decoder.layers:
            layer.cross_attn.sampling_offsets.weight.normal_(0, OFFSET_STD)
            layer.cross_attn.attention_weights.weight.normal_(0, ATTENTION_STD)
            layer.cross_attn.output_proj.weight.mul_(CROSS_GAIN)
        head.enc_bbox_head.layers[-1].weight.normal_(0, ENCODER_BOX_STD)
        for mlp in head.dec_bbox_head:
            mlp.layers[-1].weight.normal_(0, DECODER_BOX_STD)


def lift_activations(model):
    """Gives the batch norms that an activation follows a bias."""
    for module in model.modules():
        bias = BIASES.get(type(getattr(module, "act", None)), 0.0)
        # A RepConv adds two convolutions before its activation.
        for norm in (module, getattr(module, "conv1", None), getattr(module, "conv2", None)):
            if isinstance(getattr(norm, "bn", None), nn.BatchNorm2d) and bias:
                nn.init.constant_(norm.bn.bias, bias)


def condition_decoder(model, head, images):
    """The score heads of RT-DETR: the encoder's, which chooses queries, then the last layer's."""
    maps = []
    hook = head.register_forward_pre_hook(lambda m, args: maps.extend(args[0]))
    with torch.no_grad():
        model(images)
    hook.remove()
    choosing = head.enc_score_head
    with torch.no_grad():
        choosing.weight.add_(OBJECTNESS * choosing.weight.std() * torch.randn_like(choosing.weight[:1]))
    for layer in (choosing, head.dec_score_head[-1]):
        output = recorded(head, [layer], maps)[0]
        span_scores([layer], [standardise(layer, output, 2)])


def condition(model, low_quantile=LOW_QUANTILE):
    """Conditions a DetectionModel in place; returns facts for the record. `low_quantile` of the
    scores of Detect are LOW or less, on scenes of which some are wilder than others."""
    images = torch.from_numpy(scenes.batch(1000, COUNT, SIZE, SIZE))
    model.float().eval()
    head = model.model[-1]
    if hasattr(head, "decoder"):
        randomise_decoder(head)
    lift_activations(model)
    estimate_statistics(model, images)
    low, high = variances(model, images)
    if low < 0.8 or high > 1.2:
        raise RuntimeError(f"a convolution's output has variance {low:.3f} or {high:.3f}, not 1")
    # Other scenes for the heads: what the statistics were estimated on is tamer than the rest.
    images = torch.from_numpy(scenes.batch(2000, COUNT, SIZE, SIZE))
    if hasattr(head, "decoder"):
        condition_decoder(model, head, images)
    else:
        condition_detect(model, head, images, low_quantile)
    return {"variance_low": round(low, 4), "variance_high": round(high, 4)}
