"""What can be exchanged: strategies, chosen by name through entry points."""
