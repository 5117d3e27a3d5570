"""Readers and writers: every file ends in, or begins with, a record of :mod:`dbm_gmx.chemistry`."""
