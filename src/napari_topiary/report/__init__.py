"""What is left to be read: charts, rows of pictures, and the report of the demo."""
