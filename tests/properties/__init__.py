"""What must hold for every input of the pure core, told against small models of it.

`ARCO_FUZZ_EXAMPLES=10000 pytest tests/properties tests/fuzz` looks a hundred times longer.
"""
