"""What a reconstruction is worth: distributions, energies, structure, hard rules, and a report."""
