from .augmentation import check_augmentation as check_augmentation
from .datamodule import check_datamodule as check_datamodule
from .encoder import check_encoder as check_encoder
from .head import check_head as check_head
from .scorer import check_scorer as check_scorer
from .threshold import check_threshold as check_threshold
from .tiny import write_dataset as write_dataset
