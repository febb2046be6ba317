"""How fast users who come back get what was queued for them, beside a bare hypercorn that sends the same frames."""
