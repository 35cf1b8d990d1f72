"""Extensions of Beam for the values of this package: coders, checks of element types, names of timers."""
