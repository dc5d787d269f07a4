"""Where backups are kept: stores of objects, one module each, chosen by entry point."""
