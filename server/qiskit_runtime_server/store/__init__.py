"""Where jobs and sessions are kept."""
