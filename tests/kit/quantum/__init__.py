"""Circuits, devices, noise and executors, with what they do exactly."""
