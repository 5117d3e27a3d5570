"""All that runs GROMACS or prepares its runs."""
