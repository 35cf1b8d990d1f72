"""How Beam carries this package's values: coders, element types, names of timers."""
