"""Jobs on whole trajectories: beads in and atoms out, the way back, and what is said of it."""
