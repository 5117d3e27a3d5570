"""Jobs on whole trajectories: beads to atoms, atoms to beads, checks before and summaries after."""
