"""The operator put together, and one pass over a RuntimeServer."""
