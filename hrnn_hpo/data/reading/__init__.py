"""Files and DataFrames read, checked and encoded: from what a log looks like outside to arrays of codes."""
