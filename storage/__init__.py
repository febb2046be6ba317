"""What keeps a broker's log, bodies and views: LMDB for good, memory for tests. FORMAT.md draws the bytes."""
