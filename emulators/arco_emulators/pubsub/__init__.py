"""Pub/Sub push as the service does it, in front of Google's emulator."""
