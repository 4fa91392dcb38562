"""What a person does, literally: real processes, real HTTP."""
