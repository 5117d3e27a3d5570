"""What a system is: molecules and their graphs, beads and mappings, frames and boxes, stereocentres.

Knows no files, no energies and no tensors.
"""
