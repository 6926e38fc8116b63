"""Tasks of labelled clips: transcripts by CTC, classes of clips. What fine-tuning, pruning and probes share."""
