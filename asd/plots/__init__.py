"""Pictures of scores, embeddings and back ends, as PNG files."""

from asd.plots.back_ends import back_end_chart
from asd.plots.embeddings import centre_attention, draw_embeddings, embedding_map
from asd.plots.explained import explanation
from asd.plots.scores import det_curves, roc_curves, score_histograms

__all__ = [
    "back_end_chart",
    "centre_attention",
    "det_curves",
    "draw_embeddings",
    "embedding_map",
    "explanation",
    "roc_curves",
    "score_histograms",
]
