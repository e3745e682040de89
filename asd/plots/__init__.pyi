from .back_ends import back_end_chart as back_end_chart
from .embeddings import centre_attention as centre_attention
from .embeddings import draw_embeddings as draw_embeddings
from .embeddings import embedding_map as embedding_map
from .explained import explanation as explanation
from .scores import det_curves as det_curves
from .scores import roc_curves as roc_curves
from .scores import score_histograms as score_histograms
