"""The challenge's data sets from where they are published."""
