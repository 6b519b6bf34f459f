"""What a job may ask for, and what is done for it."""
