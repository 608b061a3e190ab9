"""The command line: every command speaks HTTP to a plane, a running one or one of its own."""
