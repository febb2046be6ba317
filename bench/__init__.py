"""What measures the broker: each benchmark against a baseline that did the same work in the same run."""
