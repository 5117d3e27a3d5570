"""All that runs GROMACS, or prepares a run of it."""
