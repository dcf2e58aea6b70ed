import torch
import torch.nn.functional as F
from support.samplers import uniform

from . import Case

IMAGES = ((16, 3, 512, 512),)


def window(x, size=11, sigma=1.5):
    w = torch.exp(-(((torch.arange(size, device=x.device) - size // 2) / sigma) ** 2) / 2)
    return (w / w.sum()).to(x.dtype)


def blur(x, w):
    channels = x.shape[1]
    column, row = (w.view(shape).repeat(channels, 1, 1, 1) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))
    return F.conv2d(F.conv2d(x, column, groups=channels), row, groups=channels)


def ssim(x, c1=0.01**2, c2=0.03**2):
    """As pytorch-msssim has it."""
    a, b, w = x.pred, x.target, window(x.pred)
    ma, mb = blur(a, w), blur(b, w)
    va, vb, c = blur(a * a, w) - ma**2, blur(b * b, w) - mb**2, blur(a * b, w) - ma * mb
    cs = (2 * c + c2) / (va + vb + c2)
    return 1 - ((2 * ma * mb + c1) / (ma**2 + mb**2 + c1) * cs).mean()


CASES = [Case("ssim_loss", ssim, IMAGES, inputs={"pred": uniform, "target": uniform})]
