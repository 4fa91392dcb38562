"""What was learned, and what can still teach, as rows."""
