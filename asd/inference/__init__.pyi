from .detector import Detector as Detector
from .enrolment import Enrolled as Enrolled
from .enrolment import enroll as enroll
from .explanation import Explanation as Explanation
from .monitor import Monitor as Monitor
from .result import Result as Result
from .result import Window as Window
