"""Parts of the command line, which `__main__` puts together; nothing heavy is imported before a command is chosen."""
