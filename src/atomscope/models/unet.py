"""The detector's network: a small U-Net that works at half resolution and below.

After Ronneberger et al., MICCAI 2015, with a strided stem, sums instead of
concatenations, and heads that return to full resolution by pixel shuffle:
most of the arithmetic is spent where it is cheap.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

DEPTH = 16  # input sides must be multiples of this


def norm_block(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, folded: bool = False
) -> nn.Sequential:
    """Convolution, batch norm (unless it is folded into the convolution), rectifier."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=folded)
    norm = nn.Identity() if folded else nn.BatchNorm2d(outputs)
    return nn.Sequential(convolution, norm, nn.ReLU(inplace=True))


class ClassHead(nn.Module):
    """Logits of classes, four pixels each, from the network's features and the frame itself.

    Classes differ by brightness next to their neighbours', which features that were learned to
    find columns of any brightness have forgotten.

    Args:
        features: Channels of the features at half resolution.
        classes: Number of classes.
    """

    def __init__(self, features: int, classes: int, width: int = 48) -> None:
        """Build the layers."""
        super().__init__()
        self.first = nn.Conv2d(features + 8, width, 3, 1, 1)
        self.second = nn.Conv2d(width, width, 3, 1, 2, dilation=2)
        self.last = nn.Conv2d(width, 4 * classes, 3, 1, 1)

    def forward(self, features: Tensor, frame: Tensor) -> Tensor:
        """Return logits (B, 4 classes, y/2, x/2)."""
        seen = torch.cat([features, functional.pixel_unshuffle(frame, 2)], 1)
        hidden = torch.relu(self.second(torch.relu(self.first(seen))))
        logits: Tensor = self.last(hidden)
        return logits


class UNet(nn.Module):
    """Maps a normalised frame (B, 2, y, x) to maps (B, 3 + classes, y, x).

    Channel 0 is the logit of the heat; 1 and 2 are the vector (dx, dy) to the
    nearest column in px; the others are logits of its class.

    Args:
        widths: Channels at 1/2, 1/4, 1/8 and 1/16 of the resolution.
        folded: Without batch norms, for weights that `fold` has worked them into.
        classes: Number of classes of columns; 0 where they are not told apart.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int] = (24, 40, 64, 96),
        *,
        folded: bool = False,
        classes: int = 0,
    ) -> None:
        """Build the layers."""
        super().__init__()
        a, b, c, d = widths
        block = partial(norm_block, folded=folded)
        self.stem = block(2, a, 5, 2)
        self.enc1 = block(a, a)
        self.enc2 = nn.Sequential(block(a, b, 3, 2), block(b, b))
        self.enc3 = nn.Sequential(block(b, c, 3, 2), block(c, c), block(c, c))
        self.enc4 = nn.Sequential(block(c, d, 3, 2), block(d, d), block(d, d))
        self.up3, self.up2, self.up1 = (nn.Conv2d(i, o, 1) for i, o in ((d, c), (c, b), (b, a)))
        self.dec3, self.dec2, self.dec1 = block(c, c), block(b, b), block(a, a)
        self.head = nn.Conv2d(a, 12, 3, 1, 1)
        self.classes = ClassHead(a, classes) if classes else None
        with torch.no_grad():
            self.head.bias[:4] = -3.0  # columns are rare: start from a low heat

    def forward(self, frame: Tensor) -> Tensor:
        """Return the maps (B, 3 + classes, y, x); sides are multiples of DEPTH."""
        half = self.enc1(self.stem(frame))
        quarter = self.enc2(half)
        eighth = self.enc3(quarter)
        deep = self.enc4(eighth)
        eighth = self.dec3(eighth + _double(self.up3(deep)))
        quarter = self.dec2(quarter + _double(self.up2(eighth)))
        half = self.dec1(half + _double(self.up1(quarter)))
        maps = self.head(half)
        if self.classes is not None:
            maps = torch.cat([maps, self.classes(half, frame)], 1)
        full: Tensor = functional.pixel_shuffle(maps, 2)
        return full


def fold(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Work the batch norms of trained weights into the convolutions before them.

    Args:
        state: State of a `UNet`; folded already, it comes back as it is.
    """
    folded = {}
    for name, value in state.items():
        block, _, field = name.rpartition(".")
        norm = f"{block[:-1]}1" if block.endswith(".0") else ""
        if f"{norm}.running_var" in state and field == "weight":
            gain = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-5).sqrt()
            folded[name] = value * gain[:, None, None, None]
            shift = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain
            folded[f"{block}.bias"] = shift
        elif f"{block}.running_var" not in state:
            folded[name] = value
    return folded


def _double(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="nearest")


class Exported(nn.Module):
    """The network as it is shipped: heat after the sigmoid, offsets, probabilities of classes."""

    def __init__(self, network: UNet) -> None:
        """Wrap a trained network."""
        super().__init__()
        self.network = network

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        """Return heat (B, 1, y, x), offsets (B, 2, y, x) in px, classes (B, K, y, x) if any."""
        maps = self.network(frame)
        heat, offset = torch.sigmoid(maps[:, :1]), maps[:, 1:3]
        if self.network.classes is None:
            return heat, offset
        return heat, offset, torch.softmax(maps[:, 3:], 1)
