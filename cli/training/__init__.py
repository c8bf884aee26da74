"""The commands of ``posetrain``."""
