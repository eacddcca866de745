"""models.yaml, and safety checks of model directories before anything loads them."""
