"""One module per subject: each measures its bars and checks that the answers were right."""
