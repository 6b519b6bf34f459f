"""Those who vouch for users: each is asked about the tokens that look like its own, within a time and a size."""
