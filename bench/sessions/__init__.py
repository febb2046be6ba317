"""What the benchmarks that hold WebSocket sessions share: their client's sockets, their app, who may open so many files."""
