from .datamodule import check_datamodule as check_datamodule
from .encoder import check_encoder as check_encoder
from .scorer import check_scorer as check_scorer
from .tiny import write_dataset as write_dataset
