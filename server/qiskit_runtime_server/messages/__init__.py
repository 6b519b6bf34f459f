"""The messages between api, executor service and worker process."""
