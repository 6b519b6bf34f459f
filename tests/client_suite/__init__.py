"""The client library's own integration tests, run against a server."""
