"""models.yaml and the directories it names: looked at file by file before any loader touches
them."""
