"""The commands of kubectl coffer backup."""
