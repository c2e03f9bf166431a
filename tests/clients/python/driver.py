"""What the drivers written in Python share: requests in, answers out (see suite.py)."""

import base64
import json
import sys


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
