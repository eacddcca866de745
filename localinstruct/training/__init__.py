"""Fine-tuning, from rows to an adapter; the stage is `stage`. Not covered: the loss (TRL)."""
