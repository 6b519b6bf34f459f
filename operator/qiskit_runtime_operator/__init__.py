"""The operator: makes and keeps what a RuntimeServer asks for."""
