"""The console at `/ui`: pages for people, rendered here, of what the API answers to whoever is signed in."""
