"""Chooses executors for jobs sent to `@auto`: `choice` is the rule, `auto_pool` all slots, `router` does it."""
