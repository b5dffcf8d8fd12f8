"""What a log looks like: figures, and how they are shown as text, as a picture and as a page."""
