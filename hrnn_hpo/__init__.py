"""Tuned, session-aware recurrent recommendations: the open successor to Amazon Personalize's HRNN recipe."""

from hrnn_hpo.cores import prepare_openmp

__version__ = "0.1.0"

prepare_openmp()
