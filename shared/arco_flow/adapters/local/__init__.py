"""The ports on one machine: SQLite for documents and queues, files for objects."""
