"""Servers and clusters of servers as real processes, databases, HTTP and the real clients."""
