"""The MLP whose backward pass is written by hand."""

import torch
from torch.testing import assert_close

from trainers.models.layers import Mlp


def _mlp() -> tuple[Mlp, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    mlp, x = Mlp(8, 32, "quick_gelu"), torch.randn(3, 5, 8, generator=draw, requires_grad=True)
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return mlp, x


def test_the_quick_mlp_is_its_formula_and_so_are_its_gradients() -> None:
    mlp, x = _mlp()
    inputs = (x, *mlp.parameters())
    hidden = mlp.c_fc(x)
    expected = mlp.c_proj(hidden * torch.sigmoid(1.702 * hidden))
    assert_close(mlp(x), expected)
    gradients = (torch.autograd.grad(out.square().sum(), inputs) for out in (mlp(x), expected))
    assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_a_frozen_mlp_passes_the_gradient_on_and_gets_none() -> None:
    mlp, x = _mlp()
    (expected,) = torch.autograd.grad(mlp(x).sum(), x)
    mlp.requires_grad_(False)(x).sum().backward()
    assert torch.equal(x.grad, expected)
    assert all(parameter.grad is None for parameter in mlp.parameters())


def test_under_autocast_the_quick_mlp_computes_in_bf16_and_its_gradients_are_in_fp32() -> None:
    mlp, x = _mlp()
    (expected,) = torch.autograd.grad(mlp(x).sum(), x)
    with torch.autocast("cpu", torch.bfloat16):
        out = mlp(x)
    out.sum().backward()
    assert out.dtype == torch.bfloat16
    assert {parameter.grad.dtype for parameter in mlp.parameters()} == {torch.float32}
    assert (x.grad - expected).norm() < 0.02 * expected.norm()
