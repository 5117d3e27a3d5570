"""Names in an ``.mdp`` as GROMACS takes them: which there are, and which are the same."""

from __future__ import annotations

_WORDS = """
acc-grps accelerate adress annealing annealing-npoints annealing-temp annealing-time andersen-seed awh
bd-fric calc-lambda-neighbors comm-grps comm-mode compressed-x-grps compressed-x-precision compressibility
constraint-algorithm constraints continuation cos-acceleration coulomb-modifier coulombtype coupl-steps
cpp cutoff-scheme define deform deform-init-flow delta-lambda dihre dihre-fc dihre-tau dispcorr
domain-decomposition dt emstep emtol energygrp-excl energygrp-table energygrps epsilon-r epsilon-rf
epsilon-surface ewald-geometry ewald-rtol ewald-rtol-lj fcstep foreign-lambda fourier-nx fourier-ny
fourier-nz fourierspacing free-energy freezedim freezegrps gen-seed gen-temp gen-vel imd-group
implicit-solvent include init-lambda init-lambda-state init-lambda-weights init-step init-wl-delta
integrator ld-seed lincs-iter lincs-order lincs-warnangle lj-pme-comb-rule mass-repartition-factor
mc-temperature mininum-var-min morse nbfgscorr nh-chain-length niter ns-type nwall optimize-fft pbc pcoupl
pcoupltype periodic-molecules pme-order print-nose-hoover-chain-variables pull rcoulomb rcoulomb-switch
ref-p ref-t refcoord-scaling rgbradii rlist rlistlong rotation rtpi rvdw rvdw-switch separate-dhdl-file
shake-sor shake-tol solvent-group symmetrized-transition-matrix table-extension tau-p tau-t tc-grps tcoupl
threshold tinit title unconstrained-start vdw-modifier vdw-type verlet-buffer-drift
verlet-buffer-pressure-tolerance verlet-buffer-tolerance xtc-grps xtc-precision
"""

NAMES = tuple(_WORDS.split())
"""Names, among them some of older versions that ``grompp`` still takes."""

FAMILIES = (
    *("adress", "awh", "bulk-offset", "colvars", "couple-", "cyl0", "cyl1"),
    *("density-guided-simulation-", "dh", "disre", "electric-field", "ensemble-", "fmm", "gb-"),
    *("iontype", "lmc-", "massw-split", "mts", "nnpot", "nst", "orire", "pull-", "qmmm", "rot-"),
    *("sa-", "sc-", "simulat", "sim-temp", "split-group", "swap", "user", "wall-", "weight-", "wl-"),
)
"""What names of more begin with."""

LAMBDAS = "-lambdas"
"""What others end with."""


def _squeezed(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


_KNOWN = {_squeezed(name): name for name in NAMES}

_FAMILIES = tuple(map(_squeezed, FAMILIES))


def same_name(name: str) -> str:
    """Return a name as GROMACS' guide has it: ``-``, ``_`` and the case make no difference.

    A name that is not known is returned in lower case with ``-``.
    """
    return _KNOWN.get(_squeezed(name), name.lower().replace("_", "-"))


def is_known(name: str) -> bool:
    """Whether ``grompp`` knows a name."""
    squeezed = _squeezed(name)
    return squeezed in _KNOWN or squeezed.startswith(_FAMILIES) or squeezed.endswith(_squeezed(LAMBDAS))
