"""Listening where machines stand: several sources at once by one model, and complete events of what is heard."""
