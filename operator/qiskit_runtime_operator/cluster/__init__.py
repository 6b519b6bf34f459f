"""The only I/O with a cluster."""
