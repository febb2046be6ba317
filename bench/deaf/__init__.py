"""What sessions that never read cost the others, beside as many that do."""
