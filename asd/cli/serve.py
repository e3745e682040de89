"""`asd serve`: a detector behind HTTP."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from pathlib import Path

from asd.errors import UserError

_TOKEN = "ASD_TOKEN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="of `asd fit`, or a run's folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="(8000); 0: any that is free")
    parser.add_argument("--token-file", metavar="FILE", type=Path, help=f"what clients must know; or set {_TOKEN}")
    parser.add_argument("--max-megabytes", type=float, default=50.0, metavar="MB", help="of a recording (50)")
    parser.add_argument("--max-seconds", type=float, default=600.0, metavar="S", help="of a recording (600)")
    parser.add_argument("--queue", type=int, default=32, metavar="N", help="recordings that may wait; then 503 (32)")
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="between windows of a long recording (a window)")
    parser.add_argument("--aggregate", choices=("mean", "max"), default="mean", help="of the windows' scores (mean)")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it; returns the exit code."""
    if args.max_megabytes <= 0 or args.max_seconds <= 0 or args.queue < 1:
        raise UserError("--max-megabytes and --max-seconds must be above 0, --queue 1 or more")
    try:
        from asd.serve.app import Service, create_app
        from asd.serve.limits import Limits
        from asd.serve.server import listen, serve
    except ImportError as error:
        raise UserError(f"{error}; the service needs more packages: pip install 'asd-zoo[serve]'") from error
    from asd.deploy import Detector

    token = _token(args.token_file)
    limits = Limits(args.max_megabytes, args.max_seconds, args.queue, token)
    service = Service(lambda: Detector.load(args.checkpoint, hop=args.hop, aggregate=args.aggregate), limits)
    listening = listen(args.host, args.port)
    host, port = listening.getsockname()[:2]
    if token is None and not _is_local(args.host):
        print(f"asd: warning: anyone who reaches {host}:{port} can ask; give --token-file", file=sys.stderr)
    print(f"http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    serve(create_app(service), listening)
    return 0


def _token(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(_TOKEN) or None
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise UserError(f"--token-file {path} cannot be read ({reason}); give a file with one line") from error
    if not token:
        raise UserError(f"--token-file {path} is empty; write the token into it")
    return token


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
