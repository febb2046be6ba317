"""The command line: what a person types and reads. The work is done in modules that are imported when needed."""
