"""What `verify` checks, in a process of its own; `postroom.storage.verify` starts it and reads its report."""
