"""Reads a TensorBoard event file and prints its scalars, one JSON object a line. Checks every sum, bit by bit."""
import json
import struct
import sys


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 1:
            value, at = struct.unpack("<d", data[at:at + 8])[0], at + 8
        elif kind == 5:
            value, at = struct.unpack("<f", data[at:at + 4])[0], at + 4
        elif kind == 2:
            size, at = varint(data, at)
            if at + size > len(data):
                sys.exit("a field is longer than its message")
            value, at = data[at:at + size], at + size
        else:
            sys.exit("wire type %d" % kind)
        yield key >> 3, value


def main(path):
    data = open(path, "rb").read()
    at = 0
    while at < len(data):
        head = data[at:at + 8]
        size, = struct.unpack("<Q", head)
        if struct.unpack("<I", data[at + 8:at + 12])[0] != masked(head):
            sys.exit("byte %d: the sum of the length is wrong" % at)
        body = data[at + 12:at + 12 + size]
        if struct.unpack("<I", data[at + 12 + size:at + 16 + size])[0] != masked(body):
            sys.exit("byte %d: the sum of the data is wrong" % at)
        at += 16 + size
        wall, step, values = 0.0, 0, []
        for number, value in fields(body):
            if number == 1:
                wall = value
            elif number == 2:
                step = value
            elif number == 3:
                values.append(("", value.decode()))
            elif number == 5:
                for _, v in fields(value):
                    parts = dict(fields(v))
                    values.append((parts[1].decode(), "%.6g" % parts[2]))
            else:
                sys.exit("field %d of an event" % number)
        for tag, value in values:
            print(json.dumps({"wall": wall, "step": step, "tag": tag, "value": value}))


main(sys.argv[1])
