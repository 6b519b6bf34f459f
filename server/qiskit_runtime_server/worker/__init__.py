"""Slots and the processes in them."""
