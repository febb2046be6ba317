"""The running broker: the only part of the core that knows trio, a clock or a thread."""
