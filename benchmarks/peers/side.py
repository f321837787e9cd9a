"""The process of one peer, in its environment: ``python -m benchmarks.peers.side MODULE:CLASS WHAT [ABOUT]``.

It works in the current folder. ``serve`` answers each line of stdin with a line of JSON; ``acknowledge`` and ``kept``
are for the question what is lost. ``ABOUT`` is handed to the peer.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.peers import questions
from benchmarks.peers.contract import Peer


def main(where: str, what: str, about: str = "") -> None:
    module, _, name = where.partition(":")
    peer: Peer = getattr(import_module(module), name)(Path.cwd(), about)
    peer.open(questions.BUDGETS)
    match what:
        case "serve":
            _serve(peer)
        case "acknowledge":
            questions.acknowledge(peer)
        case "kept":
            print(json.dumps(questions.kept(peer)), flush=True)
    peer.close()


def _serve(peer: Peer) -> None:
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        match line.split():
            case ["raced"]:
                answer: object = questions.raced(peer)
            case ["cost", budgets, seconds]:
                drawn_on = questions.OWN if budgets == "own" else [questions.ONE]
                answer = questions.cost(peer, drawn_on, float(seconds))
            case other:
                answer = f"not understood: {other}"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
