"""What users declare: assets, their edges, checks and resources, gathered into definitions."""
