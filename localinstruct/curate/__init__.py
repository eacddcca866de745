"""Curation of rows: rule filters, embeddings, novelty, decontamination."""
