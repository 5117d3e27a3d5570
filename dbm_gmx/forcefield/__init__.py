"""The user's force field: what the atoms are distributed by, given the beads.

Each form of interaction is defined once, its force beside its energy.
"""
