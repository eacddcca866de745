"""GGUF files: written from a model directory, read into one, and held against llama.cpp."""
