"""Benchmarks, a folder for each subject; `kit` has what they share. How they work: docs/architecture.md, "Benchmarks".

Run one from the repository: .venv/bin/python scripts/benchmarks/search/races.py --help
"""
