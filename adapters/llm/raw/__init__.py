"""Chat completions of OpenAI-compatible servers whose bytes go through as they come."""
