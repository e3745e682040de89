"""A trained detector at work: scoring recordings and learning new machines, without a trainer."""

from asd.deploy.detector import Detector, Result, Window
from asd.deploy.enroll import Enrolled, enroll

__all__ = ["Detector", "Enrolled", "Result", "Window", "enroll"]
