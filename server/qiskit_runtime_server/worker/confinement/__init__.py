"""What worker processes may do and where they may write: of each other, of the server and of its files, nothing."""
