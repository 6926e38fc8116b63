"""Pre-training: HuBERT's masked units for a teacher, and the two stages of distillation for a supernet."""
