"""HTTP for all dialects: requests and replies as values, the router, the shell, and the hosts that carry the bytes."""
