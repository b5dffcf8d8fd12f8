"""Tuned, session-aware recurrent recommendations: the open successor to Amazon Personalize's HRNN recipe."""

__version__ = "0.1.0"
