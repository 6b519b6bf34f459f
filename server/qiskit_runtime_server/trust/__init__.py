"""What processes show each other to be trusted: keys that they share, and certificates in files."""
