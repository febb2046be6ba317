"""Host two: h11 and wsproto on non-blocking sockets, for who needs speed. Plain HTTP/1.1; TLS is the other's, or a proxy's."""
