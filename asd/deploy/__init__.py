"""A trained detector at work: scoring recordings and learning new machines, without a trainer."""

from asd.deploy.detector import Detector
from asd.deploy.enroll import Enrolled, enroll
from asd.deploy.explanation import Explanation
from asd.deploy.result import Result, Window

__all__ = ["Detector", "Enrolled", "Explanation", "Result", "Window", "enroll"]
