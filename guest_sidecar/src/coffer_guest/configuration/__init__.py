"""An instance's configuration: asked for, on the volume, in the engine's files, in the engine.

record      what was asked for and what came of it, on the volume; transitions, pure
decision    what to set in the engine, and what waits for a restart; pure
folder      the directories with an engine's configuration files
live        one engine process: setting values, reading them back, putting them right
keeper      brings all of these together, one turn at a time
"""
