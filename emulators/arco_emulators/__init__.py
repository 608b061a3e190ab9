"""Emulators of the Google Cloud services that have none, for tests and for one machine.

Each speaks the protocol of its service, so that Google's own clients work unchanged.
"""
