"""How what was read is kept: arrays as files, folders that are whole or absent, and which log was prepared where."""
