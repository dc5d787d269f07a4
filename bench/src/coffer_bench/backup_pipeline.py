"""Backup and restore throughput and memory, beside the bare tool piped into zstd.

`python -m coffer_bench.backup_pipeline`: every variant once per round, in a shuffled order, so
that whatever else the machine does falls on all of them; the ratio is of medians. Needs
mariadb-backup and zstd. Throughput counts bytes of the plain stream, from the start of the tool
to the stored manifest; the start of the interpreter and of boto3 is told by itself.
"""

import contextlib
import datetime
import ipaddress
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click

from coffer_bench.backup_data import mariadb
from coffer_cluster import binaries
from coffer_cluster.pki import Pki
from coffer_common.errors import CofferError
from coffer_guest.pipeline import archive
from coffer_guest.pipeline.archive import Location
from coffer_guest.pipeline.codec import Compression
from coffer_guest.pipeline.keys import KeyRing
from coffer_guest.pipeline.manifest import DataObject, Facts
from coffer_guest.pipeline.process import ChildSink, ChildSource
from coffer_guest.pipeline.read import ReadOptions
from coffer_guest.pipeline.stop import Stop
from coffer_guest.pipeline.write import WriteOptions

_KEY = "bench"
_SECRET = "bench-secret"
_BUCKET = "bench"
_LIMITS = {"null sink": (0.85, 256.0), "null sink, TLS": (0.75, 320.0)}
_RESTORE_FACTOR = 2.0


@dataclass(frozen=True)
class Job:
    """What one child process does."""

    settings: dict[str, str]
    location: str
    ring_key: str  # hex
    source: list[str] | None  # None: restore
    compression: str = "zstd"


@dataclass(frozen=True)
class Result:
    """One run; `start_s` is what its interpreter took to begin and end."""

    seconds: float
    plain_bytes: int
    peak_mib: float = 0.0
    start_s: float = 0.0
    cpu_s: float = 0.0  # with the tool's

    @property
    def mb_per_s(self) -> float:
        return self.plain_bytes / self.seconds / 1e6


def _child(job: Job) -> Result:
    """In a process of its own, as a task is."""
    from coffer_guest.strategies.storage.s3 import S3Storage  # noqa: PLC0415 - only here

    ring = KeyRing(_KEY, {_KEY: bytes.fromhex(job.ring_key)})
    location = Location(job.location)
    with S3Storage.from_settings(dict(job.settings)) as store, Stop() as stop:
        started, cpu_s = time.monotonic(), _cpu_s()
        if job.source is None:
            backup = archive.open_backup(store, location, ring, stop)
            sink = ChildSink([sys.executable, "-c", _SWALLOW])
            archive.restore(backup, store, sink, ReadOptions(), stop)
            data = backup.manifest.data
        else:
            options = WriteOptions(compression=Compression(job.compression))
            source = ChildSource(job.source)
            data = archive.save(source, store, location, ring, _facts, options, stop).data
    seconds = time.monotonic() - started
    return Result(seconds, data.plain_bytes, _peak_mib(), cpu_s=_cpu_s() - cpu_s)


#: Reads a pipe as fast as it can be read: the least that any tool at the end costs.
_SWALLOW = "import os; b = bytearray(1 << 20)\nwhile os.readv(0, [b]): pass"


def _facts(_data: DataObject) -> Facts:
    now = datetime.datetime.now(datetime.UTC).isoformat()
    return Facts(
        strategy="bench", datastore="mariadb", engine_version="", created_at=now, finished_at=now
    )


def _peak_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _cpu_s() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _run(job: Job) -> Result:
    started = time.monotonic()
    argv = [sys.executable, "-m", "coffer_bench.backup_pipeline", "--job", json.dumps(asdict(job))]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    result = Result(**json.loads(done.stdout))
    start_s = time.monotonic() - started - result.seconds
    return replace(result, start_s=start_s)


def _baseline(source: list[str], plain_bytes: int) -> Result:
    """The tool piped into zstd as a shell would."""
    started, cpu_s = time.monotonic(), _cpu_s()
    tool = subprocess.Popen(source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    zstd = subprocess.Popen(
        ["zstd", "-1", "-T2", "-q", "-c"], stdin=tool.stdout, stdout=subprocess.DEVNULL
    )
    if tool.stdout is not None:
        tool.stdout.close()
    if tool.wait() != 0 or zstd.wait() != 0:
        raise RuntimeError("the baseline failed")
    return Result(time.monotonic() - started, plain_bytes, cpu_s=_cpu_s() - cpu_s)


@contextlib.contextmanager
def _process(argv: list[str], env: dict[str, str] | None = None) -> Iterator[int]:
    """A server that prints its port, or versitygw with a port that we choose."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, env=env)
    try:
        port = int(process.stdout.readline()) if env is None and process.stdout else 0
        yield port
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def _versitygw(folder: Path) -> Iterator[str]:
    binaries.ensure([binaries.S3])
    (folder / _BUCKET).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [str(binaries.S3.path), "--quiet", "--port", f"127.0.0.1:{port}", "posix", str(folder)]
    with _process(argv, {"ROOT_ACCESS_KEY": _KEY, "ROOT_SECRET_KEY": _SECRET}):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _stores(folder: Path) -> Iterator[dict[str, dict[str, str]]]:
    """Settings of every store that is measured, by name."""
    base = {"bucket": _BUCKET, "access_key": _KEY, "secret_key": _SECRET}
    pki = Pki(folder / "pki")
    pki.create()
    pki.issue("sink", "sink", names=["localhost"], addresses=[ipaddress.IPv4Address("127.0.0.1")])
    sink = [sys.executable, "-m", "coffer_bench.backup_sink"]
    with (
        _process(sink) as plain,
        _process([*sink, str(pki.certificate("sink")), str(pki.key("sink"))]) as tls,
        _versitygw(folder / "s3") as real,
    ):
        yield {
            "null sink": base | {"endpoint": f"http://127.0.0.1:{plain}"},
            "null sink, TLS": base
            | {"endpoint": f"https://127.0.0.1:{tls}", "ca": pki.authority.read_text()},
            "versitygw": base | {"endpoint": real},
        }


def _measure(rounds: int, scale: float) -> dict[str, list[Result]]:
    ring_key = os.urandom(32).hex()
    results: dict[str, list[Result]] = {}
    order = random.Random(0)
    root = tempfile.TemporaryDirectory()
    with root as folder, mariadb(scale) as tool, _stores(Path(folder)) as stores:

        def job(name: str, number: int, source: list[str] | None) -> Job:
            return Job(stores[name], f"bench/base/{number}", ring_key, source)

        first = _run(job("versitygw", 0, tool))  # warms the page cache and knows the stream's size
        runs: dict[str, Callable[[int], Result]] = {
            "baseline": lambda _: _baseline(tool, first.plain_bytes),
            **{name: lambda n, name=name: _run(job(name, n, tool)) for name in stores},  # type: ignore[misc]
            "restore": lambda _: _run(job("versitygw", 0, None)),
        }
        for number in range(1, rounds + 1):
            for name in order.sample(sorted(runs), len(runs)):
                result = runs[name](number)
                results.setdefault(name, []).append(result)
                print(f"{number} {name}: {result.mb_per_s:.0f} MB/s", flush=True)
                for path in (Path(folder) / "s3").rglob(f"base/{number}/data"):
                    path.unlink()
    return results


def _report(results: dict[str, list[Result]]) -> bool:
    """Print the figures; whether all are within their limits."""
    speed = {
        name: statistics.median(one.mb_per_s for one in runs) for name, runs in results.items()
    }
    good = True
    print(f"{'':16}   MB/s    min    max  ratio   MiB  start s  CPU s/GB")
    for name, runs in results.items():
        ratio = speed[name] / speed["baseline"]
        peak = max(one.peak_mib for one in runs)
        least, most = min(one.mb_per_s for one in runs), max(one.mb_per_s for one in runs)
        start_s = statistics.median(one.start_s for one in runs)
        cpu = statistics.median(one.cpu_s * 1e9 / one.plain_bytes for one in runs)
        row = f"{speed[name]:7.0f}{least:7.0f}{most:7.0f}{ratio:7.2f}{peak:6.0f}"
        row += f"{start_s:9.2f}{cpu:10.2f}"
        wanted, limit_mib = _LIMITS.get(name, (0.0, float("inf")))
        within = ratio >= wanted and peak <= limit_mib
        good &= within
        print(f"{name:16}{row}{'' if within else '  OUTSIDE'}")
    factor = speed["restore"] / speed["versitygw"]
    good &= factor >= _RESTORE_FACTOR
    print(f"restore is {factor:.2f} x the backup to the same server, at least {_RESTORE_FACTOR}")
    return good


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--scale", default=1.0, show_default=True, help="1 is about 1.5 GB")
@click.option("--job", hidden=True)
def main(rounds: int, scale: float, job: str | None) -> None:
    """Measure the data path of backups."""
    if job is not None:
        try:
            print(json.dumps(asdict(_child(Job(**json.loads(job))))))
        except CofferError as error:
            sys.exit(str(error))
        return
    sys.exit(0 if _report(_measure(rounds, scale)) else 1)


if __name__ == "__main__":
    main()
