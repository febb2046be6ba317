"""How fast a message to a room reaches many WebSocket sessions, beside a bare hypercorn that sends the same frames."""
