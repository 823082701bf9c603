"""Encodes texts with the reference implementation of SentencePiece, as speed.go asks.

Usage: reference.py MODEL TEXTS, where TEXTS holds texts, each after its length in bytes (u32, little-endian).
Commands come on stdin, one a line:

    time            encodes all texts with one thread and prints the seconds of processor time it took
    ids FILE        writes for each text the number of ids and the ids (u32, little-endian)
"""

import array
import struct
import sys
import time

import sentencepiece


def read(path):
    with open(path, "rb") as f:
        data = f.read()
    texts, at = [], 0
    while at < len(data):
        (n,) = struct.unpack_from("<I", data, at)
        texts.append(data[at + 4 : at + 4 + n].decode())
        at += 4 + n
    return texts


def main():
    sp = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])
    texts = read(sys.argv[2])
    encode = sp.encode
    print(len(texts), flush=True)
    for line in sys.stdin:
        command, *args = line.split()
        if command == "time":
            start = time.process_time()
            for text in texts:
                encode(text)
            print(time.process_time() - start, flush=True)
        elif command == "ids":
            with open(args[0], "wb") as f:
                for text in texts:
                    ids = encode(text)
                    f.write(struct.pack("<I", len(ids)))
                    array.array("I", ids).tofile(f)
            print("done", flush=True)


main()
