"""Memory, disk and time of a recipe on this machine, and changes that make it fit."""
