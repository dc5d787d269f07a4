"""What should be: pure functions from a World to a Plan."""
