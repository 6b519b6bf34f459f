"""Control planes, operators and charts."""
