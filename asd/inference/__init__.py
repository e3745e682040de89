"""A trained detector at work: scoring recordings and learning new machines, without a trainer."""

from asd.inference.detector import Detector
from asd.inference.enrolment import Enrolled, enroll
from asd.inference.explanation import Explanation
from asd.inference.result import Result, Window

__all__ = ["Detector", "Enrolled", "Explanation", "Result", "Window", "enroll"]
