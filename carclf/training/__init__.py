"""Fine-tuning in stages: what a stage is, what runs it, what it leaves, and how it resumes after a crash."""
