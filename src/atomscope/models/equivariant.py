"""The network of structures: a number of invariants for each atom, from those around it.

Messages carry circular harmonics of the direction to a neighbour, as complex numbers: a turn of
the picture multiplies those of order m by exp(imα), a mirror conjugates them. All weights are
real and mix channels of one order only; what leaves is made of products that neither changes
(Schütt et al., PaiNN, ICML 2021, in the plane and with orders 1 to 3). Neighbours stand in a padded
table: gather and sum, no scatter, so that results do not depend on threads.

Within a round, atoms come last and channels first: what each neighbour is multiplied by then lies
in one piece, which takes half the time. The rounds can be run apart, each for some of the atoms.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from atomscope.models.surroundings import EDGE, NEIGHBOURS, NODE

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
        self, h: Tensor, v: Harmonics | None, rows: Tensor, index: Tensor, waves: Harmonics,
        radial: Tensor, weight: Tensor,
    ) -> tuple[Tensor, Harmonics]:  # fmt: skip
        """Return invariants (outputs, n) and harmonics (width, n) of n of the N atoms.

        Args:
            h: (N, scalars).
            v: Harmonics (N, width) that come in.
            rows: (n,) their numbers.
            index: (n, K), among all.
            waves: (ORDERS, K, n), exp(imθ) of the directions.
            radial: (RADIAL + 1, K, n).
            weight: (K, n).
        """
        there, own = index.T.flatten(), h.index_select(0, rows).T
        message = _linear(self.way, radial.flatten(1))
        message = message + _linear(self.other, h.index_select(0, there).T)
        cos, sin = (part[:, None] for part in waves)
        if self.turned is not None and v is not None:
            # Re(v* exp(imθ)): how the neighbour's surroundings lie towards this atom
            real, imaginary = (self._by_order(part.index_select(0, there).T) for part in v)
            message = message + _linear(
                self.turned, (real * cos + imaginary * sin).flatten(2).flatten(0, 1)
            )
        at_all = message.unflatten(1, (NEIGHBOURS, -1)) + _linear(self.own, own)[:, None]
        message = silu(at_all) * (weight / 4)
        by_order = message.unflatten(0, (ORDERS, self.channels))
        new = (by_order * cos).sum(2), (by_order * sin).sum(2)
        square = torch.log(1 + new[0] * new[0] + new[1] * new[1])
        mix = self.mix.transpose(1, 2)
        product = torch.tanh(new[0] * (mix @ new[0]) + new[1] * (mix @ new[1]))
        found = torch.cat([own, message.sum(1), square.flatten(0, 1), product.flatten(0, 1)])
        return silu(_linear(self.update[0], found)), (new[0].flatten(0, 1), new[1].flatten(0, 1))

    def _by_order(self, part: Tensor) -> Tensor:
        """Harmonics (width, K n) as (ORDERS, channels, K, n)."""
        return part.reshape(ORDERS, self.channels, NEIGHBOURS, -1)


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

    def forward(
        self, node: Tensor, index: Tensor, unit: Tensor, edge: Tensor, weight: Tensor
    ) -> Tensor:
        """Return the embedding (N, outputs)."""
        bonds = torch.arange(len(node)), index, unit, edge, weight
        return self.second_round(*self.first_round(node, *bonds), *bonds)

    def first_round(self, node: Tensor, rows: Tensor, *bonds: Tensor) -> tuple[Tensor, ...]:
        """Return what the second round reads of n atoms: (n, hidden), and twice (n, width).

        Args:
            node: (N, NODE), of all atoms.
            rows: (n,) numbers of the n.
            bonds: index, unit, edge and weight of the n.
        """
        h, (real, imaginary) = self.first(node, None, rows, *self._prepared(*bonds))
        return h.T, real.T, imaginary.T

    def second_round(
        self, h: Tensor, real: Tensor, imaginary: Tensor, rows: Tensor, *bonds: Tensor
    ) -> Tensor:
        """Return the embedding (n, outputs) of n atoms, given the first round of all."""
        new, _ = self.second(h, (real, imaginary), rows, *self._prepared(*bonds))
        return _linear(self.last, torch.cat([h.index_select(0, rows).T, new])).T

    def _prepared(
        self, index: Tensor, unit: Tensor, edge: Tensor, weight: Tensor
    ) -> tuple[Tensor, Harmonics, Tensor, Tensor]:
        """Index, waves, radial and weight of a layer."""
        distance, light = (edge[..., k].T for k in range(EDGE))
        gap = FARTHEST / RADIAL
        apart = distance / gap - self.centres[:, None, None] / gap
        radial = torch.cat([torch.exp(-(apart * apart)), light[None]])
        return index, _waves(unit[..., 0].T, unit[..., 1].T), radial, weight.T


def _linear(layer: nn.Linear, values: Tensor) -> Tensor:
    """Apply a layer to channels (inputs, n)."""
    found = layer.weight @ values
    return found if layer.bias is None else found + layer.bias[:, None]


def _waves(c1: Tensor, s1: Tensor) -> Harmonics:
    """Real and imaginary part (ORDERS, K, n) of exp(imθ), m = 1 to 3."""
    c2, s2 = c1 * c1 - s1 * s1, 2 * c1 * s1
    c3, s3 = c1 * c2 - s1 * s2, s1 * c2 + c1 * s2
    return torch.stack([c1, c2, c3]), torch.stack([s1, s2, s3])
