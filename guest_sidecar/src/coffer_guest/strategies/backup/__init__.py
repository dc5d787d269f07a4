"""How the data of each engine become a stream, and a stream the data of an engine."""
