"""The commands of `python -m arco_emulators`, one module each."""
