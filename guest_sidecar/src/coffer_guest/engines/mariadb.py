"""The mariadb engine."""
