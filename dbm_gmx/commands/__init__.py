"""The commands: a file each, with its options and the function that runs it.

All of them are imported for ``dbm-gmx --help``, which must be quick.  The code that does the work
is imported when a command runs.
"""
