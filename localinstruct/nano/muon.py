"""Muon, the optimizer for matrices inside the layers: orthogonal momentum.

Jordan et al. 2024. torch.optim.Muon computes it in bf16, which is very slow on a CPU without bf16
units; this one stays in fp32.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def new_muon(matrices: "Iterable[Tensor]", momentum: float = 0.95) -> "Optimizer":
    """The optimizer; its updates are scaled to AdamW's size, so a learning rate means the same."""
    import torch

    class Muon(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure: None = None) -> None:
            for group in self.param_groups:
                for matrix in group["params"]:
                    mean = self.state[matrix].setdefault("mean", torch.zeros_like(matrix))
                    mean.lerp_(matrix.grad, 1 - momentum)
                    update = orthogonal(matrix.grad.lerp(mean, momentum))
                    matrix.add_(update, alpha=-group["lr"] * 0.2 * max(matrix.shape) ** 0.5)

    return Muon(matrices, {"lr": 1e-3})


def orthogonal(matrix: "Tensor", steps: int = 5) -> "Tensor":
    """A matrix (rows, columns) with the same directions and singular values near 1.

    Newton-Schulz iteration.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x
