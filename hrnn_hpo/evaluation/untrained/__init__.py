"""Recommenders without training, one file per idea; which there are, and how they are compared, is baselines' work."""
