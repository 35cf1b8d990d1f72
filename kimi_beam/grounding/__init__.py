"""Where the values of an answer stand in the text that they were read from, and which of them stand nowhere."""
