"""The server's log: how its lines look, and how often it says what fails again and again."""
