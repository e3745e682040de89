"""The program without what only Linux has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from asd.testing.tiny import write_dataset
from tests.quick import QUICK

# Libraries are imported as they are here; then all that Windows lacks is taken away, and the program starts.
WITHOUT_UNIX = """
import ctypes, os, pkgutil, signal, sys, types
import filelock, lightning.pytorch, librosa.display, matplotlib.figure, scipy.stats, sklearn.cluster, soundfile, torch
import fastapi, multipart, onnx, onnxruntime, peft, prometheus_client, torchaudio, transformers, uvicorn, wandb

for name in ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty", "syslog"):
    sys.modules[name] = None
for name in ("pread", "preadv", "pwrite", "fork", "forkpty", "mkfifo", "mknod", "getuid", "geteuid", "chown", "nice",
             "sched_getaffinity", "sched_setaffinity", "posix_fadvise", "statvfs", "sync", "uname", "wait", "getpgid",
             "killpg", "setsid", "openpty", "posix_fallocate", "sendfile", "getloadavg"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("alarm", "setitimer", "pause", "sigwait", "pthread_kill"):
    delattr(signal, name)

class CDLL(ctypes.CDLL):
    def __init__(self, name, *args, **kwargs):
        if name is None:
            raise TypeError("bad argument type for built-in operation")
        super().__init__(name, *args, **kwargs)

ctypes.CDLL = CDLL
# Its library is the one of this system, whatever it is told.
soundfile._sys = types.SimpleNamespace(**vars(sys))
sys.platform = "win32"

import asd, asd_plugins
for package in (asd, asd_plugins):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            __import__(module.name)

from asd.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def test_a_run_with_a_cache_on_disk_needs_nothing_that_windows_lacks(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", machines=["fan"])
    arguments = [
        "fit", "--data", "ToyADMOS2", "--data.root", tmp_path / "data", "--data.seconds=0.25", "--data.batch_size=4",
        "--data.disk_cache", tmp_path / "cache", "--model.encoder", "DualBranchCNN",
        "--model.encoder.init_args.seconds=0.25", "--trainer.max_epochs=1", *QUICK,
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_UNIX, *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "fan" in done.stdout
    assert list((tmp_path / "cache").glob("*.pcm"))
