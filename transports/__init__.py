"""What speaks to the core: HTTP and its dialects, the native WebSocket protocol, the command line."""
