"""The data modules: one class for each way in which recordings lie."""
