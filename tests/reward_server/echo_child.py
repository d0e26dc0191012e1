"""A child process that echoes questions, or does what they say."""

import os
import sys
import time

from ireasoner.reward_server import child_process
from ireasoner.reward_server.child_process import Frame, Header


def answer(header: Header, payload: bytes) -> Frame:
    print("this must not get between the frames")
    match header:
        case {"fail": str(reason)}:
            raise ValueError(reason)
        case {"exit": int(status)}:
            sys.exit(status)
        case {"hang": True}:
            time.sleep(600)
        case {"garble": True}:
            child_process._pack = lambda *_: b"\x01\x00\x00\x00\x00\x00\x00\x00?"  # a header that is not JSON
        case {"path": True}:
            return {"path": sys.path, "folder": os.getcwd()}, b""  # noqa: PTH109
    return header, payload


if __name__ == "__main__":
    child_process.serve(answer)
