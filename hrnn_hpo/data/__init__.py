"""From a log of interactions to encoded arrays, sessions and splits; knows nothing of models."""
