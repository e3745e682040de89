"""A detector behind HTTP: scores, explanations, figures for monitoring, and a page to try recordings on."""
