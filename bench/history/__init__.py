"""What queries of the history cost, in a small store and in one ten times its size, beside a raw LMDB cursor."""
