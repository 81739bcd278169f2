"""The whole configuration: its tables and keys, their defaults, and the place of each problem."""
