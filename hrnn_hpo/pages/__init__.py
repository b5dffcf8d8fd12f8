"""A page that opens offline and its charts: HTML and SVG for reports, of studies and of logs."""
