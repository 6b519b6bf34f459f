"""The RuntimeServer and what its parts are called. Pure."""
