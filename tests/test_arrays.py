"""Arrays of a system for compiled code."""

from __future__ import annotations

import numpy as np
import pytest
from exact import CHARGED, beads_of, fork, system

from dbm_gmx.forcefield.hamiltonian import make_hamiltonian
from dbm_gmx.forcefield.terms import STIFFEST
from dbm_gmx.options import Conditions
from dbm_gmx.sampling.arrays import Arrays, TermArrays, make_arrays
from dbm_gmx.sampling.conformer_exchange import ExchangeArrays
from dbm_gmx.sampling.energy import EnergyArrays
from dbm_gmx.sampling.packing import PackingArrays
from dbm_gmx.sampling.sweep import SweepArrays

PARTS = (EnergyArrays, SweepArrays, PackingArrays, ExchangeArrays)


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    moltype = fork(stiff=4 * STIFFEST)
    made = system([(moltype, beads_of(moltype, [0, 0, 1, 2, 0, 2]), 3)], CHARGED)
    return make_arrays(make_hamiltonian(made, Conditions(constraints="none")))


def test_one_name_means_one_array(arrays: Arrays) -> None:
    """Flat records are made by name, whatever group an array is in."""
    known: dict[str, np.ndarray] = {}
    for name, group in arrays._asdict().items():
        if name == "soft_terms":
            continue
        for field, values in group._asdict().items():
            assert field not in known or np.array_equal(known[field], values), (name, field)
            known[field] = values


@pytest.mark.parametrize("record", PARTS)
def test_a_part_has_the_arrays_of_its_fields(arrays: Arrays, record: type) -> None:
    part = arrays.part(record)
    for field in record._fields:
        holders = [group for group in (arrays, *arrays) if field in group._fields]
        assert any(getattr(part, field) is getattr(group, field) for group in holders), field


def test_terms_are_soft_where_that_is_asked_for(arrays: Arrays) -> None:
    hard, soft = arrays.part(TermArrays), arrays.part(TermArrays, soft=True)
    assert hard.parameters[:, 1].max() == 4 * STIFFEST
    assert soft.parameters[:, 1].max() == STIFFEST
    assert soft.parameters is arrays.soft_terms.parameters
