"""OpenAI's chat completions: models passed through, choices of models, agents as models."""
