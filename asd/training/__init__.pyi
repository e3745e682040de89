from .averaging import AveragedWeights as AveragedWeights
from .callbacks import RunCheckpoint as RunCheckpoint
from .callbacks import RunOutputs as RunOutputs
from .module import AnomalyDetector as AnomalyDetector
from .optim import OptimizerOptions as OptimizerOptions
from .restore import restore as restore
from .warmup import WarmUp as WarmUp
