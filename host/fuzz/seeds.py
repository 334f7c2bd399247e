#!/usr/bin/env python3
"""Makes seeds/plugin_bytes anew: tiny libraries, and what may be wrong with one. Needs a C compiler on x86-64 Linux.

What the host says of each stands in tests/features/bytes.rs, by the seed's name.
"""

import json
import pathlib
import struct
import subprocess
import tempfile

SEEDS = pathlib.Path(__file__).parent / "seeds" / "plugin_bytes"
NOTE = {
    "id": "seed", "version": "1.0.0", "contract": "1.0.0", "sdk": "none", "abi_stable": "0.11.3", "target": "any",
    "panic": "unwind",
}
SOURCE = """
#include <stdlib.h>
__attribute__((section(".busway"), used)) static const unsigned char note[] = {%s};
int seed_number = 7;
int *seed_place = &seed_number;
__attribute__((visibility("default"))) void *seed(unsigned long size) { return malloc(size); }
"""
SMALL = ["-w", "-Os", "-shared", "-fPIC", "-nostartfiles", "-s", "-Wl,-z,noseparate-code", "-Wl,-z,norelro"]


def note(text, length=None):
    text = text.encode()
    return b"BUSWAY\0\x01" + struct.pack("<I", len(text) if length is None else length) + text


def built(section, *flags):
    """A library with that note; empty: without."""
    source = SOURCE % ",".join(map(str, section))
    if not section:
        source = "\n".join(line for line in source.splitlines() if ".busway" not in line)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / "seed.c").write_text(source)
        subprocess.run(["cc", *SMALL, *flags, "-o", path / "seed.so", path / "seed.c"], check=True)
        return bytearray((path / "seed.so").read_bytes())


def put(library, at, form, value):
    changed = bytearray(library)
    struct.pack_into(form, changed, at, value)
    return changed


def section(library, name):
    """Where a section begins in the file, and its size."""
    table, = struct.unpack_from("<Q", library, 40)
    size, count, names = struct.unpack_from("<HHH", library, 58)
    headers = [struct.unpack_from("<IIQQQQ", library, table + size * i) for i in range(count)]
    strings = headers[names][4]
    for header in headers:
        begin = strings + header[0]
        if library[begin:library.index(0, begin)].decode() == name:
            return header[4], header[5]
    raise SystemExit(f"the compiler made no section {name}")


def seeds():
    good = note(json.dumps(NOTE))
    whole = built(good)
    yield "whole", whole
    yield "whole-sysv-hash", built(good, "-Wl,--hash-style=sysv")
    yield "whole-relro", built(good, "-Wl,-z,relro")
    yield "whole-run-path", built(good, "-Wl,-rpath,/opt/seed/lib")
    yield "note-none", built(b"")
    yield "note-length", built(note(json.dumps(NOTE), 1 << 31))
    yield "note-no-json", built(note("{" * 64))
    yield "note-abort", built(note(json.dumps(NOTE | {"panic": "abort"})))
    yield "note-contract", built(note(json.dumps(NOTE | {"contract": "9.0.0"})))
    yield "cut-ident", whole[:16]
    yield "cut-header", whole[:63]
    yield "cut-segments", whole[:80]
    yield "cut-half", whole[:len(whole) // 2]
    yield "other-machine", put(whole, 18, "<H", 183)
    yield "sections-far", put(whole, 40, "<Q", 1 << 63)
    # One that a fuzzer makes of these by turning a byte is none of them.
    for name, short in [(".dynsym", "symbols"), (".dynamic", "dynamic")]:
        begin, size = section(whole, name)
        yield f"hole-{short}", whole[:begin] + bytes(size) + whole[begin + size:]
    # A relocation of zeros is none.
    begin, size = section(whole, ".rela.dyn")
    yield "whole-unrelocated", whole[:begin] + bytes(size) + whole[begin + size:]
    yield "stranger-pe", b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H", 0x8664)
    yield "stranger-macho", struct.pack("<IIII", 0xFEEDFACF, 0x01000007, 3, 6)
    yield "stranger-archive", b"!<arch>\n"
    yield "stranger-text", b"#!/bin/sh\nexit 1\n"


def main():
    SEEDS.mkdir(parents=True, exist_ok=True)
    for old in SEEDS.iterdir():
        old.unlink()
    for name, data in seeds():
        (SEEDS / name).write_bytes(data)


if __name__ == "__main__":
    main()
