"""Bringing queued jobs to executors, and their results back."""
