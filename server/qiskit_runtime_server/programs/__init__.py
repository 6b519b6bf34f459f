"""The programs that clients submit, run inside worker processes; plain synchronous code."""
