"""The plane on Google Cloud."""
