"""Our own protocol: tokens, frames, and the WebSocket connections that carry them. See `docs/protocol.md`."""
