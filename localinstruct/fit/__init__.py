"""Does it fit, and if not what would: memory and disk of a recipe's phases, against a machine."""
