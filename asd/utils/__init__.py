"""What any part may use: files written whole, tables and YAML read as data, text shown, downloads."""
