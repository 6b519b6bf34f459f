"""Twirling, decoupling and mitigation: how circuits are varied, and what is made of their bits."""
