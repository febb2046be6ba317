"""How much memory sessions take that do nothing, beside those of a bare hypercorn."""
