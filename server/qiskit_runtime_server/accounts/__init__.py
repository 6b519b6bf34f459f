"""Who asks: tokens, accounts, their limits."""
