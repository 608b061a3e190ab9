"""Cloud Storage: the JSON API, with preconditions that are honoured."""
