"""From what is seen to the status of a RuntimeServer. Pure."""
