"""What every column, number and claim is called and means: each once, for writers, pages and documentation."""
