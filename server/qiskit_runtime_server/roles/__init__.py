"""One module for each role that a process can have: it puts the parts together, and nothing below knows of it."""
