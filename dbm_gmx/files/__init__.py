"""Readers and writers: every file format lives here."""
