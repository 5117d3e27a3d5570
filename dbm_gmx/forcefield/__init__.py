"""The user's force field, and the distribution it gives the atoms for given beads.

Each form of interaction is defined once, with its force beside its energy.
"""
