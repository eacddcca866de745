"""What a training is made of, from rows to an adapter: `stage.py` puts it together. Not covered:
the loss itself (TRL)."""
