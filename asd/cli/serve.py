"""`asd serve`: a detector behind HTTP."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from pathlib import Path

from asd.cli.otherwise import add_otherwise
from asd.cli.thresholds import add_false_alarms
from asd.errors import UserError
from asd.serve.curl import CURL, curl
from asd.utils.memory import keep_freed_memory

_TOKEN = "ASD_TOKEN"
_ASKED = "\n".join(f"  {curl(route, 'http://127.0.0.1:8000')}" for route in CURL)
_EPILOG = f"""
Each route, as it is asked; /docs is a page that tells their options and answers:
{_ASKED}
With a token: curl -H "Authorization: Bearer TOKEN" ...

The head of a request must arrive within 10 s, a body within 300 s and at
1 kB/s or more; connections without a request are closed after 15 s. At a
signal, what is asked already has 16 s."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="of `asd fit`, or a run's folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="(8000); 0: any that is free")
    parser.add_argument("--token-file", metavar="FILE", type=Path, help=f"what clients must know; or set {_TOKEN}")
    parser.add_argument(
        "--allowed-hosts", metavar="NAME", nargs="+", action="extend", default=[],
        help="by which the service is asked, beside localhost and --host: asd.example.com, *.example.com, * for any",
    )  # fmt: skip
    parser.add_argument("--max-megabytes", type=float, default=50.0, metavar="MB", help="of a recording (50)")
    parser.add_argument("--max-seconds", type=float, default=600.0, metavar="S", help="of a recording (600)")
    parser.add_argument("--queue", type=int, default=32, metavar="N", help="recordings that may wait; then 503 (32)")
    parser.add_argument("--connections", type=int, default=256, metavar="N", help="that may be open (256)")
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="between windows of a long recording (a window)")
    add_false_alarms(parser, "as the checkpoint has it")
    parser.add_argument(
        "--calibrated", metavar="FILE", type=Path,
        help="where POST /v1/calibrate writes the checkpoint; it is served where it is there",
    )  # fmt: skip
    parser.add_argument("--aggregate", choices=("mean", "max"), default="mean", help="of the windows' scores (mean)")
    add_otherwise(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="that compute (as many as there are cores)")
    parser.add_argument(
        "--batch-wait-ms", type=float, default=0.0, metavar="MS", help="to wait for others to share a batch with (0)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it; returns the exit code."""
    if not (args.max_megabytes > 0 and args.max_seconds > 0 and args.queue >= 1):
        raise UserError("--max-megabytes and --max-seconds must be above 0, --queue 1 or more")
    if args.connections < 1:
        raise UserError("--connections must be 1 or more")
    if not 0 <= args.batch_wait_ms < 1e6 or (args.threads is not None and args.threads < 1):
        raise UserError("--batch-wait-ms must be 0 or more, --threads 1 or more")
    try:
        from asd.serve.app import create_app
        from asd.serve.hosts import Hosts
        from asd.serve.limits import Limits
        from asd.serve.server import listen, serve
        from asd.serve.service import Kept, Service
    except ImportError as error:
        raise UserError(f"{error}; the service needs more packages: pip install 'asd-zoo[serve]'") from error
    import torch

    from asd.inference import Detector
    from asd.run_folder import checkpoint_at

    keep_freed_memory()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    token = _token(args.token_file)
    hosts = Hosts.of(args.host, args.allowed_hosts)
    limits = Limits(args.max_megabytes, args.max_seconds, args.queue, token, hosts, args.connections)
    calibrated = args.calibrated
    checkpoint = calibrated if calibrated is not None and calibrated.is_file() else checkpoint_at(args.checkpoint)
    service = Service(
        lambda: Detector.load(
            checkpoint,
            hop=args.hop,
            aggregate=args.aggregate,
            false_alarms=args.false_alarms,
            recorded_otherwise=args.recorded_otherwise,
        ),
        limits,
        args.batch_wait_ms / 1000,
        Kept(checkpoint, calibrated),
    )
    listening = listen(args.host, args.port)
    host, port = listening.getsockname()[:2]
    if token is None and not _is_local(args.host):
        names = "" if args.allowed_hosts else "; it is asked by address, by other names with --allowed-hosts"
        print(f"asd: warning: anyone who reaches {host}:{port} can ask; give --token-file{names}", file=sys.stderr)
    print(f"http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    serve(create_app(service), listening)
    return 0


def _token(path: Path | None) -> str | None:
    if path is None and not os.environ.get(_TOKEN):
        return None
    where, token = _TOKEN, os.environ.get(_TOKEN, "")
    if path is not None:
        where = f"--token-file {path}"
        try:
            token = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise UserError(f"{where} cannot be read ({reason}); give a file with one line") from error
    token = token.strip()
    if not token:
        raise UserError(f"{where} is empty; write the token into it")
    if not (token.isascii() and token.isprintable()):
        raise UserError(f"{where} holds what no header can carry; choose one line of ASCII characters")
    return token


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
