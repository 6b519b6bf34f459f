"""Faults that are made on purpose, for those who test how their own code deals with them; off unless asked for."""
