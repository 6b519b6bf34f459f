"""What clients send and get: read with limits, written as they expect it."""
