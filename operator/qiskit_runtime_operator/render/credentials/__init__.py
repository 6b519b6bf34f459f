"""What makes the Secrets of a RuntimeServer: its keys, and the certificates of its pods."""
