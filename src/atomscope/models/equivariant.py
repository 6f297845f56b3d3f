"""The network of structures: a number of invariants for each atom, from those around it.

Messages carry circular harmonics of the direction to a neighbour, as complex numbers: a turn of
the picture multiplies those of order m by exp(imα), a mirror conjugates them. All weights are
real and mix channels of one order only; what leaves is made of products that neither changes
(Schütt et al., PaiNN, ICML 2021, in the plane and with orders 1 to 3). Neighbours stand in a padded
table: gather and sum, no scatter, so that results do not depend on threads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atomscope.models.surroundings import EDGE, NODE

ORDERS = 3  # of harmonics; three-fold sites show nothing in the first two
RADIAL = 8  # functions of the distance
FARTHEST = 3.2  # local spacings
Harmonics = tuple[Tensor, Tensor]  # real and imaginary part, orders one after the other
SCALE = 8.0  # distances of untrained embeddings are then of the order of one


class Layer(nn.Module):
    """One round of messages.

    Args:
        scalars: Invariants per atom that come in.
        vectors: Channels of each order that come in, 0 in the first layer.
        width: Channels of messages; each order has a third of them.
        outputs: Invariants per atom that go out.
    """

    def __init__(self, scalars: int, vectors: int, width: int, outputs: int) -> None:
        """Build the layers."""
        super().__init__()
        self.channels = width // ORDERS
        self.own = nn.Linear(scalars, width)
        self.other = nn.Linear(scalars, width, bias=False)
        self.way = nn.Linear(RADIAL + 1, width, bias=False)
        self.turned = nn.Linear(ORDERS * vectors, width, bias=False) if vectors else None
        self.mix = nn.Parameter(0.3 * torch.randn(ORDERS, self.channels, self.channels))
        carried = scalars + width + 2 * ORDERS * self.channels
        self.update = nn.Sequential(nn.Linear(carried, outputs), nn.SiLU())

    def forward(
        self, h: Tensor, v: Harmonics | None, index: Tensor, waves: Harmonics, radial: Tensor,
        weight: Tensor,
    ) -> tuple[Tensor, Harmonics]:  # fmt: skip
        """Return invariants (N, outputs) and harmonics (N, width).

        Args:
            h: (N, scalars).
            v: Harmonics (N, width) that come in.
            index: (N, K).
            waves: (N, K, width), exp(imθ) of the directions, the same for all channels of an order.
            radial: (N, K, RADIAL + 1).
            weight: (N, K).
        """
        message = self.own(h)[:, None] + self.other(h)[index] + self.way(radial)
        cos, sin = waves
        if self.turned is not None and v is not None:
            # Re(v* exp(imθ)): how the neighbour's surroundings lie towards this atom
            message = message + self.turned(v[0][index] * cos + v[1][index] * sin)
        message = nn.functional.silu(message) * weight[..., None]
        total = message.sum(1) / 4
        new = (message * cos).sum(1) / 4, (message * sin).sum(1) / 4
        mixed = self._mixed(new[0]), self._mixed(new[1])
        square = torch.log1p(new[0] * new[0] + new[1] * new[1])
        product = torch.tanh(new[0] * mixed[0] + new[1] * mixed[1])
        return self.update(torch.cat([h, total, square, product], 1)), new

    def _mixed(self, part: Tensor) -> Tensor:
        """Mix the channels (N, width) of each order."""
        by_order = part.unflatten(-1, (ORDERS, self.channels))
        return torch.einsum("noc,ocd->nod", by_order, self.mix).flatten(1)


class StructureNet(nn.Module):
    """Embeds atoms: what `surroundings` gives of N atoms becomes (N, outputs) invariants.

    Args:
        width: Channels of messages.
        hidden: Invariants per atom between the layers.
        outputs: Numbers of the embedding.
    """

    def __init__(self, width: int = 24, hidden: int = 24, outputs: int = 24) -> None:
        """Build the layers."""
        super().__init__()
        self.first = Layer(NODE, 0, width, hidden)
        self.second = Layer(hidden, width // ORDERS, width, hidden)
        self.last = nn.Linear(2 * hidden, outputs)
        with torch.no_grad():
            self.last.weight *= SCALE
        self.register_buffer("centres", torch.linspace(0.4, FARTHEST, RADIAL))
        one_per_channel = torch.eye(ORDERS).repeat_interleave(width // ORDERS, 1)
        self.register_buffer("spread", one_per_channel, persistent=False)

    def forward(
        self, node: Tensor, index: Tensor, unit: Tensor, edge: Tensor, weight: Tensor
    ) -> Tensor:
        """Return the embedding (N, outputs)."""
        gap = FARTHEST / RADIAL
        bumps = torch.exp(-(((edge[..., :1] - self.centres) / gap) ** 2))
        radial = torch.cat([bumps, edge[..., 1:EDGE]], -1)
        waves = _waves(unit, self.spread)
        h1, v1 = self.first(node, None, index, waves, radial, weight)
        h2, _ = self.second(h1, v1, index, waves, radial, weight)
        embedding: Tensor = self.last(torch.cat([h1, h2], 1))
        return embedding


def _waves(unit: Tensor, spread: Tensor) -> Harmonics:
    """Real and imaginary part (N, K, width) of exp(imθ), m = 1 to 3, for all channels."""
    c1, s1 = unit[..., :1], unit[..., 1:]
    c2, s2 = c1 * c1 - s1 * s1, 2 * c1 * s1
    c3, s3 = c1 * c2 - s1 * s2, s1 * c2 + c1 * s2
    return torch.cat([c1, c2, c3], -1) @ spread, torch.cat([s1, s2, s3], -1) @ spread
