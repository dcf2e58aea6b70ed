import torch.nn.functional as F

from . import Case
from .basics import FLAT, signs

CASES = [
    Case(
        "alpha_hinge",
        lambda x: F.relu(1 - 2 * x.target * (x.scores - x.initial)).mean() / 4,
        FLAT,
        options={"alpha": 2.0},
        inputs={"target": signs},
    ),
    Case(
        "alpha_scaled_mse",
        lambda x: F.mse_loss(2 * (x.pred - x.initial), x.target) / 4,
        FLAT,
        options={"alpha": 2.0},
    ),
]
