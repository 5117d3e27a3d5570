"""The network of the paper: it places one atom after the other, given the beads and the known atoms."""
