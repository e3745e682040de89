"""Machines that do not exist, and mixtures of real ones with noise."""
