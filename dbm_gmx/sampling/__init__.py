"""Atoms from the Boltzmann distribution of the force field, given the beads.

:mod:`~dbm_gmx.sampling.sampler` shows the stages in a row: growth, conformer exchange, packing, sweeps.
"""
