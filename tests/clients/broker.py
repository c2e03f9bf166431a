"""The broker that clients are run against, and how results are told."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get('CARGO_TARGET_DIR') or ROOT / 'target')
INSTALLED = TARGET / 'clients'
SECONDS_MAX = 60


class Results:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, function, *arguments):
        start = time.monotonic()
        try:
            function(*arguments)
        except Exception as error:  # whatever it is, it is the reason
            self.failed += 1
            reason = ' '.join(f'{type(error).__name__}: {error}'.split())
            print(f'fail {name}: {reason}', flush=True)
            return False
        self.passed += 1
        print(f'pass {name} ({time.monotonic() - start:.1f} s)', flush=True)
        return True


def port_free():
    """Below those that the kernel gives to clients: one that tries again while the broker is dead would connect to itself."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with socket.socket() as probe:
            if probe.connect_ex(('127.0.0.1', port)) != 0:
                return port
    raise AssertionError('no free port')


class Elsewhere:
    """A broker that somebody else runs, say Apache Kafka to compare with."""

    def __init__(self, bootstrap):
        self.bootstrap, self.data = bootstrap, os.environ.get('KLAMM_BOOTSTRAP_DATA', '')

    def start(self):
        pass

    kill = stop = start


class Broker:
    """Our own, on a free port of loopback, with its data and its log in `folder`."""

    def __init__(self, binary, folder, settings=None):
        self.binary = binary
        self.bootstrap = f'127.0.0.1:{port_free()}'
        self.data, self.log = folder / 'data', folder / 'broker.log'
        listener = f'PLAINTEXT://{self.bootstrap}'
        self.settings = {'listeners': listener, 'advertised.listeners': listener, 'log.dirs': self.data} | (settings or {})
        self.process = None

    def start(self):
        command = [self.binary]
        for name, value in self.settings.items():
            command += ['--override', f'{name}={value}']
        # Variables of these names are settings of the broker.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(('KAFKA_', 'KLAMM_'))}
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        host, port = self.bootstrap.split(':')
        for _ in range(SECONDS_MAX * 20):
            assert self.process.poll() is None, f'the broker ended: {self.tail()}'
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f'the broker does not listen: {self.tail()}')

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """A clean stop that nothing bad went before."""
        assert self.process.poll() is None, f'the broker ended with {self.process.poll()}: {self.tail()}'
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(SECONDS_MAX)
        assert code == 0, f'exit code {code}'
        bad = [line for line in self.log.read_text().splitlines() if 'ERROR' in line or 'panicked' in line]
        assert not bad, f'the log has {bad[:3]}'

    def tail(self):
        return self.log.read_text()[-1000:]


def command(*arguments, **keywords):
    subprocess.run([str(argument) for argument in arguments], check=True, stdout=sys.stderr, **keywords)


def built():
    """The broker's binary: KLAMM_BINARY, or a release build."""
    if binary := os.environ.get('KLAMM_BINARY'):
        return binary
    command('cargo', 'build', '-q', '--release', '--bin', 'klamm', cwd=ROOT)
    return TARGET / 'release/klamm'
