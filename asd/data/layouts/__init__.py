"""How recordings lie in folders and archives, and what their names say."""
