"""The REST API and the worker callbacks: one framework-free application behind any server."""
