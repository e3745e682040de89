from .audio_file import AudioError as AudioError
from .decoding import Header as Header
from .decoding import decode as decode
from .decoding import read as read
from .decoding import read_header as read_header
