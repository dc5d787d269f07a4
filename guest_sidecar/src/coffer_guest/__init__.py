"""The guest agent and the launcher that run beside and around a database engine."""
