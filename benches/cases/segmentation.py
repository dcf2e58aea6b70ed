import torch
import torch.nn.functional as F
from support.samplers import uniform

from . import Case

#: Four volumes of 96 voxels a side, four classes; and street scenes.
MAPS = ((4, 4, 96**3), (4, 19, 512 * 1024))


def dice(p, t, smooth=1e-5):
    overlap = (p * t).sum(2)
    return 1 - (2 * overlap + smooth) / (p.sum(2) + t.sum(2) + smooth)


def dice_of_labels(x):
    t = F.one_hot(x.labels, x.pred.shape[1]).movedim(-1, 1).to(x.pred.dtype)
    return dice(x.pred.softmax(1), t).mean()


def dice_of_target(x):
    return dice(x.pred.sigmoid(), x.target).mean()


def classes(shape, generator):
    return torch.randint(0, 4, shape, generator=generator)


CASES = [
    Case("dice_loss", dice_of_labels, MAPS[:1], "softmax, labels", inputs={"labels": classes}),
    Case("dice_loss", dice_of_target, MAPS[:1], "sigmoid, target", options={"activation": "sigmoid"}, inputs={"target": uniform}),
]
