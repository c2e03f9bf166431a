"""What the drivers written in Python share: requests in, answers out (see suite.py)."""

import base64
import json
import select
import sys
import time


class Refusal(Exception):
    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code


def encoded(value):
    return None if value is None else base64.b64encode(value).decode()


def decoded(value):
    return None if value is None else base64.b64decode(value)


def decoded_record(record):
    headers = [(name, decoded(value)) for name, value in record['headers']]
    return record | {'key': decoded(record['key']), 'value': decoded(record['value']), 'headers': headers}


def answer(**fields):
    print(json.dumps(fields), flush=True)


def event(name, **fields):
    """Something that a member of a group tells, with the time of it in milliseconds."""
    answer(event=name, time=time.time_ns() // 1_000_000, **fields)


def waiting():
    """Whether another request has come: one that was sent after the last had been read."""
    return bool(select.select([sys.stdin.fileno()], [], [], 0)[0])


class Member:
    """What the members of groups share: the records that are not committed yet. `commit` takes the next offset by partition."""

    def __init__(self, commit):
        self.commit_offsets = commit
        self.next = {}

    def delivered(self, partition, offset):
        event('record', partition=partition, offset=offset)
        self.next[partition] = offset + 1

    def commit(self):
        if not self.next:
            return
        try:
            self.commit_offsets(self.next)
        except Exception:  # the broker is dead, or a rebalance is in progress: these offsets come again with later ones
            return
        event('committed', offsets=self.next)
        self.next = {}

    def assigned(self, partitions):
        event('assigned', partitions=partitions)

    def revoked(self, partitions):
        self.commit()
        self.lost(partitions)

    def lost(self, partitions):
        for partition in partitions:
            self.next.pop(partition, None)
        event('revoked', partitions=partitions)


def serve(driver):
    """Calls the method of `driver` that has the request's name. Its result is the answer."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(**(getattr(driver, request.pop('op'))(**request) or {}))
        except Refusal as refusal:
            answer(error=refusal.code, reason=str(refusal))
        except Exception as error:  # whatever it is, it is the reason
            answer(error=-1000, reason=f'{type(error).__name__}: {error}')
