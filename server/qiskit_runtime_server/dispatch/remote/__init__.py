"""Executor services as pools: `endpoint` is one address, `run` one job there, `pool` all endpoints of a name."""
