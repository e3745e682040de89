"""Clips, their names and classes, and the LightningDataModules that serve them."""
