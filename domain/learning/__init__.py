"""What outcomes and people's feedback teach, remembered between choices."""
