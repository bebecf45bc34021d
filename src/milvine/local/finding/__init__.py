"""What a model's name means, and its files on this machine."""
