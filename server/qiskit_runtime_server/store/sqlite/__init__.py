"""What only the embedded database needs."""
