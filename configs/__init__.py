"""The configurations that come with the program: `asd configs list` shows them."""
