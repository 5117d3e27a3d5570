"""What the user's force field and beads say of the place of an atom, imposed on the draws of the network.

The network draws a position.  Around it the force field is stiff in some directions: bonds, angles (as
distances between their ends), flat groups, stereocentres, atoms that would overlap, and the mapped centre of
the bead.  All of these are sums of squares, near their minimum.  With the draw itself as one more square
of width :data:`TRUST`, and every target moved by thermal noise of its own width, the minimum of the sum is a
draw from the product of both (randomise, then optimise: Bardsley et al., SIAM J. Sci. Comput. 36, A1895,
2014).

Hydrogens are the guide's alone: bonds and angles say where they are.  The steps are compiled and take place
on the processor, wherever the network runs: there are many of them and each is small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.network.environment import Scene
from dbm_gmx.network.guide_steps import (
    ALL_KNOWN,
    MOST,
    Around,
    How,
    Work,
    begin_hydrogens,
    choose_all,
    follow_all,
    settle_all,
)

TRUST = 0.03
"""nm, how far the network's draws are taken to be off."""
STAY = 0.03
"""nm, how far atoms may go in a step without the network."""
ROUNDS, FEWER_ROUNDS = 6, 2
"""Of Gauss and Newton's method."""
PASSES = 4
"""In which a bead's atoms follow the guide without noise, before two states of it are compared."""


class Guide(NamedTuple):
    """What is known of every atom.  Rows are those of :class:`~dbm_gmx.network.arrays.NetworkArrays`.

    Attributes
    ----------
    step, distance, stiffness, bond
        (rows, k) atoms at a known distance, as offsets from the atom itself (0: none); nm; 1 over the
        standard deviation, 1/nm; whether it is a bond.
    flat, flat_stiffness
        (rows, f, 3) atoms that lie in a plane with it, as offsets (0: none); 1 over the standard
        deviation of the volume of the four, 1/nm^3.
    turn, curve, inner
        (rows, t, 3) other atoms of torsions, as offsets (0: none); row of the curve, and whether
        the atom is an inner one.
    curves, floors
        (curves, 360) signed root of twice the energy over kT above the floor of the basin, from -180 degrees;
        the energy of that floor above that of the lowest, kT.
    hand, least
        (atoms of a frame, h, 3) atoms at a stereocentre with it, in an order that should give a positive
        volume, as offsets (0: none); (atoms of a frame, h) that volume if regular, nm^3.
    side, sense
        (atoms of a frame, s, 3) atoms of a bond that does not turn, as offsets (0: none): the one it is
        bonded to, the other end, and one beside that; (atoms of a frame, s) 1 where it is cis to the last,
        -1 where trans.
    bead, share, radius
        (rows, m) beads that a heavy atom has to do with, counted from the first of the molecule (-1: none);
        weight of the atom, with that of the hydrogens on it; nm, how far it is from the centre of the bead's
        atoms (-1: not known).
    members, weights
        (rows, m, a) atoms of these beads, as offsets, and their weights; 0: none.
    carried, parent
        (rows, c) hydrogens on a heavy atom, as offsets (0: none); (rows,) what a hydrogen is on.
    first_bead
        (atoms of a frame,) first bead of its molecule.
    excluded
        (rows, x) atoms that it does not repel, as offsets; itself (0) among them.
    types, sigma, strength
        (atoms of a frame,) type; (types, types) nm, and square root of 8 epsilon / kT.
    softness
        nm, width of the restraints to the beads.
    reach
        nm, atoms nearer than this may come to overlap in a step.
    """

    step: IntArray
    distance: FloatArray
    stiffness: FloatArray
    bond: IntArray
    flat: IntArray
    flat_stiffness: FloatArray
    turn: IntArray
    curve: IntArray
    inner: IntArray
    curves: FloatArray
    floors: FloatArray
    hand: IntArray
    least: FloatArray
    side: IntArray
    sense: FloatArray
    bead: IntArray
    share: FloatArray
    radius: FloatArray
    members: IntArray
    weights: FloatArray
    carried: IntArray
    parent: IntArray
    first_bead: IntArray
    excluded: IntArray
    types: IntArray
    sigma: FloatArray
    strength: FloatArray
    softness: float
    reach: float


def noise_of(guide: Guide) -> int:
    """Random numbers for each atom: of the squares, and where a hydrogen begins."""
    beads = 3 * guide.bead.shape[1]
    squares = guide.step.shape[1] + guide.flat.shape[1] + guide.turn.shape[1] + beads
    return int(squares) + 3


def make_around(guide: Guide, scene: Scene) -> Around:
    """What the guide needs to know of a scene; its atoms may move."""
    arrays = scene.arrays
    names = ("owner", "molecule", "hydrogen", "growth_rank", "row")
    owner, molecule, hydrogen, rank, row = (getattr(arrays, name).cpu().numpy() for name in names)
    n = len(guide.first_bead)
    frame = np.arange(len(owner)) // n
    members = np.lexsort((rank, hydrogen, owner))
    start = arrays.owned_start.cpu().numpy()
    light = np.concatenate([[0], np.cumsum(hydrogen[members])])
    links = [values.cpu().numpy() for values in (scene.link_start, scene.link_bead, scene.link_shift)]
    return Around(
        owner,
        molecule,
        hydrogen,
        rank,
        row,
        np.tile(guide.first_bead, len(owner) // n) + frame * (arrays.n_beads // (len(owner) // n)),
        scene.beads.cpu().numpy(),
        links[0],
        links[1],
        links[2],
        start,
        start[1:] - (light[start[1:]] - light[start[:-1]]),
        members,
    )


@dataclass(frozen=True, eq=False)
class Guiding:
    """A guide in use on a scene; made by :func:`make_guiding`.

    Attributes
    ----------
    guide, around
        What it says, and of which atoms.
    memory
        Of its steps.
    """

    guide: Guide
    around: Around
    memory: Work

    @property
    def noise(self) -> int:
        """Random numbers for each atom: of the squares, and where a hydrogen begins."""
        return noise_of(self.guide)

    def follow(self, x: Tensor, atoms: Tensor, drawn: Tensor, noise: Tensor, how: How) -> Tensor:
        """Positions (b, 3) that the network draws, moved to where the force field and the beads allow them.

        Parameters
        ----------
        x
            (n, 3) nm, of all atoms.
        atoms
            (b,) those that are drawn; none knows of the draws of the others.
        noise
            (b, :attr:`noise`) standard normal.
        """
        places, given = _array(drawn), (_array(atoms), how, _array(noise))
        follow_all(self.guide, self.around, _array(x), *given, places, self.memory)
        return torch.from_numpy(places).to(drawn.device)

    def settle(self, x: Tensor, atoms: Tensor, noise: Tensor, how: How) -> None:
        """Let atoms follow the guide from where they are, one after the other, in place."""
        places = _array(x)
        settle_all(self.guide, self.around, places, _array(atoms), how, _array(noise), self.memory)
        _keep(x, places)

    def begin(self, x: Tensor, atoms: Tensor, noise: Tensor, how: How) -> None:
        """Place hydrogens, one after the other and in place."""
        places = _array(x)
        begin_hydrogens(self.guide, self.around, places, _array(atoms), how, _array(noise), self.memory)
        _keep(x, places)

    def choose(self, x: Tensor, other: Tensor, beads: Tensor, chance: tuple[Tensor, Tensor], how: How) -> int:
        """Take for each bead the heavy atoms it has or others, by the energy of both, in place.

        Parameters
        ----------
        other
            (n, 3) nm, another state.
        chance
            (b,) uniform, and (hydrogens of the beads, :attr:`noise`) standard normal.

        Returns
        -------
        Beads that have taken the other.
        """
        places, (uniform, noise) = _array(x), map(_array, chance)
        given = (_array(other), _array(beads), how, noise, uniform)
        taken = choose_all(self.guide, self.around, places, *given, self.memory)
        _keep(x, places)
        return int(taken)

    def hydrogens(self, beads: Tensor) -> int:
        """How many hydrogens some beads own."""
        b, around = _array(beads), self.around
        return int((around.member_start[b + 1] - around.heavy_end[b]).sum())


def make_guiding(guide: Guide, scene: Scene) -> Guiding:
    """Set up the guide for the atoms of a scene."""
    return Guiding(guide, make_around(guide, scene), Work(np.zeros(10), np.zeros((MOST, 6))))


def growing(known_below: int) -> How:
    """How the network's draws follow the guide while a molecule grows."""
    return How(known_below, redraw=False, trust=TRUST, rounds=ROUNDS, width=1.0)


def redrawing(width: float = 1.0) -> How:
    """How they do where a bead is drawn as if none of its atoms were there."""
    return How(ALL_KNOWN, redraw=True, trust=TRUST, rounds=ROUNDS, width=width)


def staying(width: float = 1.0, stay: float = STAY) -> How:
    """How atoms follow the guide from where they are, all others there; ``stay`` is how far, nm."""
    return How(ALL_KNOWN, redraw=False, trust=stay, rounds=FEWER_ROUNDS, width=width, passes=PASSES)


def _array(values: Tensor) -> Any:
    """On the processor; the same memory where it is there already."""
    return values.cpu().numpy()


def _keep(x: Tensor, places: Any) -> None:
    if x.device.type != "cpu":
        x.copy_(torch.from_numpy(places))
