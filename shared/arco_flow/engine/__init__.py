"""The imperative shell: one use case per file, over ports, with every decision made in domain/."""
