"""TVTSv2 (arXiv:2305.14173): two towers over one embedding, and a head that sorts transcripts."""
