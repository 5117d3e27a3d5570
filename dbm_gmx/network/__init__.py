"""The network of the paper: it places atom after atom from the beads and the atoms placed before."""
