"""The network of the paper: it sees the beads and the atoms placed so far, and places the next atom."""
