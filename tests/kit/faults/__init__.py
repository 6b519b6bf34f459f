"""What goes wrong: damaged input, cut connections, storms of faults."""
