"""The commands as the command line declares them: light modules, as what runs a command is imported when it runs."""
