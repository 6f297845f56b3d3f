"""The detector's network: a small U-Net that works at half resolution and below.

After Ronneberger et al., MICCAI 2015, with a strided stem, sums instead of
concatenations, and heads that return to full resolution by pixel shuffle:
most of the arithmetic is spent where it is cheap.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

DEPTH = 16  # input sides must be multiples of this


def block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, rectifier."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Maps a normalised frame (B, 2, y, x) to logits and offsets (B, 3, y, x).

    Channel 0 is the logit of the heat; 1 and 2 are the vector (dx, dy) to the
    nearest column in px.

    Args:
        widths: Channels at 1/2, 1/4, 1/8 and 1/16 of the resolution.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (24, 40, 64, 96)) -> None:
        """Build the layers."""
        super().__init__()
        a, b, c, d = widths
        self.stem = block(2, a, 5, 2)
        self.enc1 = block(a, a)
        self.enc2 = nn.Sequential(block(a, b, 3, 2), block(b, b))
        self.enc3 = nn.Sequential(block(b, c, 3, 2), block(c, c), block(c, c))
        self.enc4 = nn.Sequential(block(c, d, 3, 2), block(d, d), block(d, d))
        self.up3, self.up2, self.up1 = (nn.Conv2d(i, o, 1) for i, o in ((d, c), (c, b), (b, a)))
        self.dec3, self.dec2, self.dec1 = block(c, c), block(b, b), block(a, a)
        self.head = nn.Conv2d(a, 12, 3, 1, 1)
        with torch.no_grad():
            self.head.bias[:4] = -3.0  # columns are rare: start from a low heat

    def forward(self, frame: Tensor) -> Tensor:
        """Return logits and offsets, shape (B, 3, y, x); sides are multiples of DEPTH."""
        half = self.enc1(self.stem(frame))
        quarter = self.enc2(half)
        eighth = self.enc3(quarter)
        deep = self.enc4(eighth)
        eighth = self.dec3(eighth + _double(self.up3(deep)))
        quarter = self.dec2(quarter + _double(self.up2(eighth)))
        half = self.dec1(half + _double(self.up1(quarter)))
        maps: Tensor = functional.pixel_shuffle(self.head(half), 2)
        return maps


def _double(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="nearest")


class Exported(nn.Module):
    """The network as it is shipped: heat after the sigmoid, then the offsets."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap a trained network."""
        super().__init__()
        self.network = network

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Return heat (B, 1, y, x) in 0 to 1 and offsets (B, 2, y, x) in px."""
        maps = self.network(frame)
        return torch.sigmoid(maps[:, :1]), maps[:, 1:]
