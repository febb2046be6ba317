"""How fast durable sends over HTTP are answered, beside a bare hypercorn that answers the same bytes at once."""
