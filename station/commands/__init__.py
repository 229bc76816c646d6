"""Commands that analyse files: each module is one `tessera` command, a thin shell."""
