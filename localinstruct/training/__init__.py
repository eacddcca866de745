"""What a training is made of, from rows to an adapter: `stages/train.py` puts it together. Not covered: the loss itself (TRL)."""
