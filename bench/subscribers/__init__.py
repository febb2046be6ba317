"""`postroom bench subscribers`: what a message to a service costs, by who subscribes."""
