"""Hostile input for everything that reads bytes or text: the one table of decoders, mutated
documents, kept inputs (corpus/), and bounds on work and memory."""
