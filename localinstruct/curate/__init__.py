"""What is kept and why: rule filters, embeddings, novelty, decontamination."""
