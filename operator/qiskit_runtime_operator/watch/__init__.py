"""What the watches tell, and what is to be done about it."""
