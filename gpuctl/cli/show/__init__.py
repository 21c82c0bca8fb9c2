"""What goes to stderr: errors, notes, progress, prompts. rich is imported inside, and only on a terminal."""
