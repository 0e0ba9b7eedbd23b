#!/usr/bin/env python3
"""Sends transfers through `tandem tx run --jsonl`, each exactly once, however often this is killed and started again.

    transfers.py make transfers.jsonl --count 1000      writes a file of transfers, each with an id of its own
    transfers.py send transfers.jsonl -c tandem.yaml    sends it; run it again after a crash: what is committed stays, the rest follows

It needs nothing but Python: no driver for PostgreSQL, no package.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time


def new_id():
    """A UUID of version 7 whose last byte is 0: it counts the attempts."""
    value = (int(time.time() * 1000) << 80) | (0x7 << 76) | (random.getrandbits(12) << 64) | (0b10 << 62) | (random.getrandbits(54) << 8)
    text = f"{value:032x}"
    return "-".join([text[:8], text[8:12], text[12:16], text[16:20], text[20:]])


def attempt(identifier, number):
    """The id of a later attempt: the same for everybody who makes it of the first one."""
    return identifier[:-2] + f"{number:02x}"


def make(options):
    nodes = options.nodes.split(",")
    with open(options.file, "w", encoding="utf-8") as file:
        for number in range(options.count):
            source, target = random.sample(nodes, 2)
            amount, one, other = (random.randint(1, high) for high in (10, options.accounts, options.accounts))
            operation = "UPDATE account SET balance = balance {} $1 WHERE id = $2"
            json.dump(
                {
                    "ref": number,
                    "id": new_id(),
                    "operations": [
                        {"node": source, "sql": operation.format("-"), "params": [amount, one], "expect": {"rows": 1}},
                        {"node": target, "sql": operation.format("+"), "params": [amount, other], "expect": {"rows": 1}},
                    ],
                },
                file,
            )
            file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def send(options):
    with open(options.file, encoding="utf-8") as file:
        waiting = {transfer["ref"]: (transfer, 0) for transfer in map(json.loads, file)}
    total, repeated, refused = len(waiting), 0, []
    command = [options.tandem, "-c", options.config, "tx", "run", "--jsonl", "-", "--clients", str(options.clients)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lock = threading.Lock()

    def put(reference):
        transfer, number = waiting[reference]
        with lock:
            process.stdin.write(json.dumps({**transfer, "id": attempt(transfer["id"], number)}) + "\n")
            process.stdin.flush()

    def feed(references):
        try:
            for reference in references:
                put(reference)
        except BrokenPipeError:
            pass  # It has ended; its exit code says why.

    threading.Thread(target=feed, args=(list(waiting),), daemon=True).start()
    for line in process.stdout:
        result = json.loads(line)
        reference, error = result["ref"], result.get("error", {})
        transfer, number = waiting[reference]
        if result["outcome"] == "committed":
            repeated += result.get("repeated", False)
            del waiting[reference]
        elif result["outcome"] == "in_doubt":
            put(reference)  # The same id: it cannot happen twice, and is answered once the outcome is known.
        elif error.get("code") == "duplicateTransaction":
            waiting[reference] = (transfer, number + 1)  # Of the old id nothing can commit any more.
            put(reference)
        elif error.get("isRetrySafe"):
            put(reference)
        else:
            refused.append((reference, error.get("message")))
            del waiting[reference]
        if not waiting:
            process.stdin.close()
            break
    process.stdout.read()
    code = process.wait()
    print(f"{total - len(waiting) - len(refused)} of {total} committed, {repeated} of them before; {len(refused)} refused", file=sys.stderr)
    for reference, message in refused[:10]:
        print(f"  {reference}: {message}", file=sys.stderr)
    if waiting:
        print(f"{len(waiting)} have no answer: send the file again (tandem ended with {code})", file=sys.stderr)
    return 1 if waiting or refused else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make")
    maker.add_argument("file")
    maker.add_argument("--count", type=int, default=1000)
    maker.add_argument("--nodes", default="n1,n2,n3")
    maker.add_argument("--accounts", type=int, default=100)
    sender = commands.add_parser("send")
    sender.add_argument("file")
    sender.add_argument("-c", "--config", default="tandem.yaml")
    sender.add_argument("--tandem", default="tandem")
    sender.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    return make(options) if options.command == "make" else send(options)


if __name__ == "__main__":
    sys.exit(main())
