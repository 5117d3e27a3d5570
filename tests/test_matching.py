"""Molecules of beads matched with molecules of atoms: by name, by what fits, several that are one bead."""

from __future__ import annotations

import logging
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from dbm_gmx.chemistry.mapping import Mapping
from dbm_gmx.chemistry.matching import Pairing, match_beads
from dbm_gmx.chemistry.topology import MoleculeType, Terms, Topology
from dbm_gmx.chemistry.units_of_beads import parse_parts, unite_parts
from dbm_gmx.errors import InputError
from dbm_gmx.options import Matching


def chain(name: str, names: str, *, bonded: bool = True, resids: list[int] | None = None) -> MoleculeType:
    graph = nx.Graph()
    for i, atom in enumerate(names.split()):
        resid = 1 if resids is None else resids[i]
        node = {"name": atom, "type": "C", "element": "C", "mass": 12.0, "charge": 0.0}
        graph.add_node(i, **node, resid=resid, resname=name)
        if i and bonded:
            graph.add_edge(i - 1, i, kind="bond")
    return MoleculeType(name, 3, graph)


def system(*listed: tuple[MoleculeType, int]) -> Topology:
    return Topology({m.name: m for m, _ in listed}, tuple((m.name, n) for m, n in listed))


def mapped(moltype: MoleculeType, beads: str, *, cg: str = "") -> Mapping:
    """Atoms of a molecule shared out among beads, in order and as evenly as can be."""
    names = tuple(beads.split())
    owner = np.arange(moltype.n_atoms) * len(names) // moltype.n_atoms
    weights = sp.csr_matrix((np.ones(len(owner)), (owner, np.arange(len(owner)))))
    weights = sp.csr_matrix(sp.diags(1 / np.asarray(weights.sum(axis=1)).ravel()) @ weights)
    align, times = np.full(len(names), -1), np.ones(len(names), np.int64)
    return Mapping(moltype.name, names, names, weights, owner, align, times, cg_molecule=cg)


def by_name(*mappings: Mapping) -> dict[str, Mapping]:
    return {f"{m.molecule} {m.cg_molecule}": m for m in mappings}


def found(pairing: Pairing) -> list[tuple[str, int]]:
    return [(match.moltype.name, match.count) for match in pairing.matches]


HEXANE = chain("HEX", "C1 C2 C3 C4 C5 C6")
BEADS = chain("HEX", "A B C")


# --- by what fits ------------------------------------------------------------------------------------


def test_several_types_of_atoms_behind_one_of_beads(caplog: pytest.LogCaptureFixture) -> None:
    """Each chain of an atactic melt has a topology of its own."""
    one, two = replace(HEXANE, name="HEX_1"), replace(HEXANE, name="HEX_2")
    mappings = by_name(mapped(one, "A B C", cg="HEX"), mapped(two, "A B C", cg="HEX"))
    with caplog.at_level(logging.INFO):
        pairing = match_beads(system((BEADS, 5)), system((one, 2), (two, 3)), mappings)
    assert found(pairing) == [("HEX_1", 2), ("HEX_2", 3)]
    assert pairing.beads.tolist() == list(range(15))
    assert "HEX = HEX_1 (2), HEX = HEX_2 (3)" in caplog.text
    with pytest.raises(InputError, match=r"HEX: 5 molecules of beads, 4 of atoms \(HEX_1, HEX_2\)"):
        match_beads(system((BEADS, 5)), system((one, 2), (two, 2)), mappings)


def test_one_type_of_atoms_behind_several_of_beads() -> None:
    cg = system((replace(BEADS, name="E1"), 2), (replace(BEADS, name="E2"), 3))
    pairing = match_beads(cg, system((HEXANE, 5)), by_name(mapped(HEXANE, "A B C")))
    assert found(pairing) == [("HEX", 5)]


def test_other_beads_of_the_same_atoms_have_a_mapping_of_their_own() -> None:
    cg = system((chain("FINE", "A B C"), 2), (chain("ROUGH", "A B"), 1))
    mappings = by_name(mapped(HEXANE, "A B C", cg="FINE"), mapped(HEXANE, "A B", cg="ROUGH"))
    pairing = match_beads(cg, system((HEXANE, 3)), mappings)
    assert [(len(m.mapping.names), m.count, m.first_atom) for m in pairing.matches] == [(3, 2, 0), (2, 1, 12)]
    assert len({m.moltype.name for m in pairing.matches}) == 2
    assert pairing.written.molecules == (("HEX", 3),)  # as its topology has them


def test_names_that_say_nothing_are_taken_in_order(caplog: pytest.LogCaptureFixture) -> None:
    cg = system((replace(BEADS, name="hexane"), 4), (chain("but", "A B"), 4))
    butane = chain("BUT", "C1 C2 C3 C4")
    with caplog.at_level(logging.INFO):
        pairing = match_beads(
            cg,
            system((HEXANE, 4), (butane, 4)),
            by_name(mapped(HEXANE, "A B C", cg="X"), mapped(butane, "A B")),
        )
    assert found(pairing) == [("HEX", 4), ("BUT", 4)]
    assert caplog.text.count("hexane = HEX (4), but = BUT (4)") == 1


@pytest.mark.parametrize(("beads", "fits"), [("A B C", False), ("X Y Z", True)])
def test_what_could_be_exchanged_is_ambiguous_unless_beads_tell(beads: str, fits: bool) -> None:
    other = replace(HEXANE, name="OTHER")
    mappings = by_name(mapped(HEXANE, "A B C"), mapped(other, beads))
    cg = system((chain("one", "A B C"), 4), (chain("two", beads), 4))
    aa = system((HEXANE, 4), (other, 4))
    if fits:
        assert found(match_beads(cg, aa, mappings)) == [("HEX", 4), ("OTHER", 4)]
        swapped = system((chain("one", beads), 4), (chain("two", "A B C"), 4))
        with pytest.raises(InputError, match="ambiguous"):
            match_beads(swapped, aa, mappings)
        return
    with pytest.raises(InputError, match="ambiguous: one may be HEX and two OTHER, or the other way round"):
        match_beads(cg, aa, mappings)
    told = Matching(aliases=(("one", "HEX"), ("two", "OTHER")))
    assert found(match_beads(cg, aa, mappings, told)) == [("HEX", 4), ("OTHER", 4)]
    told = Matching(aliases=(("one", "OTHER"), ("two", "HEX")))
    with pytest.raises(InputError, match="different order"):
        match_beads(cg, aa, mappings, told)


def test_chains_merged_into_one_molecule_of_beads_and_the_reverse() -> None:
    """As martinize2 -merge and pdb2gmx -merge do."""
    butane = chain("BUT", "C1 C2 C3 C4")
    mappings = by_name(mapped(HEXANE, "A B C"), mapped(butane, "D E"))
    pairing = match_beads(
        system((chain("all", "A B C D E"), 2)),
        system((HEXANE, 1), (butane, 1), (HEXANE, 1), (butane, 1)),
        mappings,
    )
    assert found(pairing) == [("HEX", 1), ("BUT", 1), ("HEX", 1), ("BUT", 1)]
    assert pairing.beads.tolist() == list(range(10))
    both = chain("BOTH", "C1 C2 C3 C4 C5 C6 D1 D2 D3 D4")
    cg = system(
        (chain("x", "A B C"), 1), (chain("y", "D E"), 1), (chain("z", "A B C"), 1), (chain("w", "D E"), 1)
    )
    pairing = match_beads(cg, system((both, 2)), by_name(mapped(both, "A B C D E")))
    assert found(pairing) == [("BOTH", 2)]


def test_what_does_not_fit_is_shown_side_by_side() -> None:
    water = chain("SOL", "OW HW1 HW2")
    with pytest.raises(InputError) as error:
        match_beads(
            system((BEADS, 4), (chain("W", "W"), 10)),
            system((HEXANE, 4), (water, 40)),
            by_name(mapped(HEXANE, "A B C")),
        )
    assert (
        "W (10): this molecule type is not in the atomistic topology (HEX, SOL); --alias 'W=4 SOL' "
        in str(error.value)
    )
    assert "SOL (40): atoms with neither beads nor a mapping; they cannot be rebuilt: --leave-out SOL" in str(
        error.value
    )
    assert [line.split() for line in str(error.value).split("\n")[-3:]] == [
        ["beads", "atoms"],
        ["HEX", "4", "3", "beads", "HEX", "4", "3", "mapped"],
        ["W", "10", "1", "bead", "SOL", "40", "no", "mapping"],
    ]
    columns = {
        line.index(word)
        for line, word in zip(
            str(error.value).split("\n")[-3:], ("atoms", "HEX  4  3 m", "SOL 40"), strict=True
        )
    }
    assert len(columns) == 1


def test_aliases_name_ions_that_need_no_mapping() -> None:
    ion, cg_ion = chain("NA", "NA"), chain("NA+", "NA+")
    mappings = by_name(mapped(HEXANE, "A B C"))
    cg, aa = system((BEADS, 2), (cg_ion, 3)), system((HEXANE, 2), (ion, 3))
    told = Matching(aliases=(("NA+", "NA"),))
    pairing = match_beads(cg, aa, mappings, told)
    assert found(pairing) == [("HEX", 2), ("NA", 3)]
    with pytest.raises(InputError, match=r"--alias NA\+='K': no molecules of atoms are K"):
        match_beads(cg, aa, mappings, Matching(aliases=(("NA+", "K"),)))


# --- order -------------------------------------------------------------------------------------------


def test_reorder_puts_beads_and_molecules_in_order(caplog: pytest.LogCaptureFixture) -> None:
    butane = chain("BUT", "C1 C2 C3 C4")
    mappings = by_name(mapped(HEXANE, "A B C"), mapped(butane, "D E"))
    cg = system((chain("BUT", "D E"), 1), (chain("HEX", "C A B"), 2))
    aa = system((HEXANE, 2), (butane, 1))
    with pytest.raises(InputError, match=r"different order of molecules.*--reorder takes them by name"):
        match_beads(cg, aa, mappings)
    with caplog.at_level(logging.INFO):
        pairing = match_beads(cg, aa, mappings, Matching(reorder=True))
    assert found(pairing) == [("HEX", 2), ("BUT", 1)]
    assert pairing.beads.tolist() == [3, 4, 2, 6, 7, 5, 0, 1]
    with pytest.raises(InputError, match="another order"):
        match_beads(system((chain("HEX", "C A B"), 2)), system((HEXANE, 2)), mappings)


# --- virtual sites and several molecules -------------------------------------------------------------


def with_site(names: str, site: int, *, terms: bool) -> MoleculeType:
    """Beads of which one is a virtual site, as a topology says it or as a .tpr does."""
    moltype = chain("HEX", names)
    moltype.graph.nodes[site]["mass"] = 0.0
    moltype.graph.add_edge(0, site, kind="virtual")
    rows = np.array([[site, 0, 1]])
    return replace(moltype, terms=(Terms("virtual_sites2", 1, rows, np.array([[0.5]])),) if terms else ())


@pytest.mark.parametrize("terms", [True, False])
def test_virtual_sites_that_carry_no_atoms_are_left_out(
    terms: bool, caplog: pytest.LogCaptureFixture
) -> None:
    cg, aa = system((with_site("A B V C", 2, terms=terms), 2)), system((HEXANE, 2))
    with caplog.at_level(logging.INFO):
        pairing = match_beads(cg, aa, by_name(mapped(HEXANE, "A B C")))
    assert pairing.beads.tolist() == [0, 1, 3, 4, 5, 7]
    assert "HEX: 1 virtual sites carry no atoms" in caplog.text
    # a site that the mapping has carries atoms
    assert len(match_beads(cg, aa, by_name(mapped(HEXANE, "A B V C"))).beads) == 8
    with pytest.raises(InputError, match="4 beads in the CG topology, 2 in the mapping"):
        match_beads(cg, aa, by_name(mapped(HEXANE, "A B")))


WATER = chain("SOL", "OW HW1 HW2")


def test_a_bead_of_several_molecules() -> None:
    cg, aa = system((BEADS, 2), (chain("W", "W"), 3)), system((HEXANE, 2), (WATER, 12))
    told = Matching(aliases=(("W", "4 SOL"),))
    pairing = match_beads(cg, aa, by_name(mapped(HEXANE, "A B C")), told)
    assert found(pairing) == [("HEX", 2), ("4 SOL", 3)]
    assert pairing.written is aa
    water = pairing.matches[1]
    assert (water.moltype.n_atoms, len(water.mapping.names), water.first_atom, water.first_bead) == (
        12,
        1,
        12,
        6,
    )
    assert water.mapping.weights.sum() == pytest.approx(1.0)
    assert water.moltype.attribute("resid") == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    with pytest.raises(InputError, match=r"W \(3\): 12 molecules SOL are needed, 4 a bead; 11 are there"):
        match_beads(cg, system((HEXANE, 2), (WATER, 11)), by_name(mapped(HEXANE, "A B C")), told)
    with pytest.raises(InputError, match=r"SOL \(1\): atoms with neither beads"):
        match_beads(cg, system((HEXANE, 2), (WATER, 13)), by_name(mapped(HEXANE, "A B C")), told)


def test_hydrated_ions_take_their_water_from_all_of_it() -> None:
    cg = system((chain("W", "W"), 2), (chain("NA+", "NA"), 2))
    aa = system((WATER, 12), (chain("NA", "NA"), 2))
    told = Matching(aliases=(("W", "4 SOL"), ("NA+", "NA 2 SOL")))
    pairing = match_beads(cg, aa, {}, told)
    assert found(pairing) == [("4 SOL", 2), ("NA 2 SOL", 2)]
    assert pairing.written.molecules == (("SOL", 8), ("NA", 1), ("SOL", 2), ("NA", 1), ("SOL", 2))
    assert pairing.topology.n_atoms == pairing.written.n_atoms == aa.n_atoms


def test_parts_of_a_bead() -> None:
    assert parse_parts("SOL") == (("SOL", 1),)
    assert parse_parts("NA 4 SOL") == (("NA", 1), ("SOL", 4))
    for wrong in ("", "4", "NA 4"):
        with pytest.raises(InputError, match="no molecule type, and not several"):
            parse_parts(wrong)
    united = unite_parts((("HEX", 2),), {"HEX": HEXANE})
    assert united.bonds.tolist() == [[i, i + 1] for i in range(11) if i != 5]
    assert united.name == "2 HEX"


# --- parts of a system -------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [Matching(leave_out=("W", "SOL")), Matching(only=("HEX",))])
def test_what_is_left_out_is_gone_from_both(told: Matching, caplog: pytest.LogCaptureFixture) -> None:
    cg = system((chain("W", "W"), 3), (BEADS, 2), (chain("W", "W"), 1))
    aa = system((HEXANE, 1), (WATER, 5), (HEXANE, 1))
    with caplog.at_level(logging.INFO):
        pairing = match_beads(cg, aa, by_name(mapped(HEXANE, "A B C")), told)
    assert pairing.beads.tolist() == [3, 4, 5, 6, 7, 8]
    assert pairing.written.molecules == (("HEX", 2),)
    assert "left out: beads of W; atoms of SOL" in caplog.text


def test_leaving_out_beads_leaves_out_the_atoms_that_they_are() -> None:
    cg, aa = system((BEADS, 2), (chain("W", "W"), 3)), system((HEXANE, 2), (WATER, 12))
    told = Matching(aliases=(("W", "4 SOL"),), leave_out=("W",))
    assert match_beads(cg, aa, by_name(mapped(HEXANE, "A B C")), told).written.molecules == (("HEX", 2),)
    with pytest.raises(
        InputError, match="--leave-out X: no such molecule type; beads are HEX, W, atoms HEX, SOL"
    ):
        match_beads(cg, aa, {}, Matching(leave_out=("X",)))


def test_interactions_between_molecules_go_with_the_atoms() -> None:
    between = (Terms("bonds", 1, np.array([[3, 9]]), np.array([[0.5, 100.0]])),)
    aa = replace(system((WATER, 1), (HEXANE, 2)), intermolecular=between)
    cg = system((chain("W", "W"), 1), (BEADS, 2))
    pairing = match_beads(cg, aa, by_name(mapped(HEXANE, "A B C")), Matching(only=("HEX",)))
    assert pairing.topology.intermolecular[0].atoms.tolist() == [[0, 6]]
    aa = replace(aa, intermolecular=(replace(between[0], atoms=np.array([[0, 9]])),))
    with pytest.raises(InputError, match="with atoms that are left out"):
        match_beads(cg, aa, by_name(mapped(HEXANE, "A B C")), Matching(only=("HEX",)))
