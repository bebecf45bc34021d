"""A model's files made into graphs, and graphs into sessions."""
