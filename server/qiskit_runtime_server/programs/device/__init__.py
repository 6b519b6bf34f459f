"""What a job's device is, and whether a circuit fits it."""
