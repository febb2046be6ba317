"""How fast embedded sends are on disk, beside a raw LMDB loop that writes the same rows."""
