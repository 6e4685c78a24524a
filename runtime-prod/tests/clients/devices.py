#!/usr/bin/env python3
"""A block device instead of a file for the write-ahead log: loop devices, of both sizes of sectors. What is acknowledged
survives `kill -9`; a device that holds something else, is used by somebody else, or is not what it is said to be is refused
with the reason, and is byte for byte as it was."""

import contextlib
import hashlib
import subprocess

from broker import BINARY, Broker, Skipped, check, directory, equal, run
from kafka import create_topic, produce_all, read

MIB = 1 << 20
SIZE = 64 * MIB
IN_USE, WAL_REFUSED, USAGE = 64, 66, 2
TOPIC = "kept"


@contextlib.contextmanager
def loop(size=SIZE, sector=512, write=None):
    """A loop device, whose file holds what `write` puts there."""
    image = directory("loop") / "image"
    with image.open("wb") as file:
        file.truncate(size)
        if write:
            write(file)
    device = attach(image, sector)
    try:
        yield device, image
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def attach(image, sector=512):
    try:
        done = subprocess.run(["losetup", "--find", "--show", "--sector-size", str(sector), image], capture_output=True,
                              text=True)
    except FileNotFoundError:
        raise Skipped("there is no losetup") from None
    if done.returncode:
        raise Skipped(f"no loop device: {done.stderr.strip()}")
    return done.stdout.strip()


def on(device, **options):
    return Broker(arguments=["--wal-device", f"block:{device}"], **options)


def write(broker, count, first=0):
    records = [(0, b"%d" % n, b"<%08d>" % n * 50, None) for n in range(first, first + count)]
    equal(produce_all(broker, TOPIC, records), list(range(first, first + count)), "offsets")
    return records


def check_kept(broker, records):
    found = read(broker, TOPIC, 0, 0, len(records))
    equal([(m.key(), m.value()) for m in found], [(key, value) for _, key, value, _ in records], "records")


def digest(image):
    return hashlib.sha256(image.read_bytes()).hexdigest()


def blank(device, *more):
    done = subprocess.run([BINARY, "wal", "blank", "--wal-device", f"block:{device}", *more], capture_output=True, text=True,
                          timeout=60)
    return done.returncode, done.stdout + done.stderr


def killed_and_started_again():
    for sector in (512, 4096):
        with loop(sector=sector) as (device, _), on(device) as broker:
            create_topic(broker, TOPIC)
            written = []
            for _ in range(3):
                written += write(broker, 2000, len(written))
                broker.kill()
                looked = subprocess.run([BINARY, "inspect", "wal", device, "--data-dir", broker.data], capture_output=True,
                                        text=True)
                equal(looked.returncode, 0, f"an inspection: {looked.stdout}{looked.stderr}")
                check(f"{TOPIC}-0" in looked.stdout, f"the WAL holds the topic:\n{looked.stdout}")
                broker.start()
                check_kept(broker, written)
            check(not (broker.data / "wal").exists(), "no file is made")
            # Several times around the ring.
            for _ in range(5):
                produce_all(broker, TOPIC, [(0, None, b"x" * 100_000, None)] * 300)
            broker.stop_clean()
            broker.start()
            broker.stop_clean()


def used_by_somebody_else():
    with loop() as (device, image), on(device) as first:
        create_topic(first, TOPIC)
        written = write(first, 500)
        second = on(device)
        second.refused(IN_USE, "is in use")
        check("in use" in blank(device, "--overwrite")[1], "a device in use is not blanked")
        check_kept(first, written)
        first.stop_clean()
    place = directory("mount")
    with loop(write=None) as (device, image):
        subprocess.run(["mkfs.ext4", "-q", device], check=True)
        try:
            subprocess.run(["mount", device, place], check=True, capture_output=True)
        except subprocess.CalledProcessError as error:
            raise Skipped(f"no mounting: {error.stderr.decode().strip()}") from None
        try:
            on(device).refused(IN_USE, "mounted")
        finally:
            subprocess.run(["umount", place], check=True)


def what_it_holds_stays():
    """Signatures where file systems and partition tables leave them; with consent they go."""
    for at, content in [(1080, b"\x53\xef"), (65_600, b"_BHRfS_M"), (SIZE - 512, b"EFI PART"), (0, b"LUKS\xba\xbe")]:
        def put(file, at=at, content=content):
            file.seek(at)
            file.write(content)
        with loop(write=put) as (device, image):
            before = digest(image)
            on(device).refused(WAL_REFUSED, "not a Karst WAL", "karst wal blank")
            code, said = blank(device)
            equal(code, 1, f"exit code without consent: {said}")
            check(f"byte {at}" in said and "Nothing was changed" in said, f"it says what is there: {said}")
            equal(digest(image), before, "the device")
            equal(blank(device, "--overwrite")[0], 0, "exit code with consent")
            with on(device) as broker:
                create_topic(broker, TOPIC)
                check_kept(broker, write(broker, 100))
                broker.kill()
            code, said = blank(device)
            equal(code, 1, "exit code for a WAL with records")
            check(f"{TOPIC}-0" in said or "batches not uploaded" in said, f"what would be lost is told: {said}")


def of_another_size():
    with loop() as (device, image), on(device) as broker:
        create_topic(broker, TOPIC)
        written = write(broker, 100)
        broker.kill()
        grown = directory("grown") / "image"
        grown.write_bytes(image.read_bytes() + bytes(MIB))
        other = attach(grown)
        try:
            broker.arguments[1] = f"block:{other}"
            broker.refused(WAL_REFUSED, "was formatted with a ring of")
        finally:
            subprocess.run(["losetup", "--detach", other], check=True)
        broker.arguments[1] = f"block:{device}"
        broker.start()
        check_kept(broker, written)
    with loop(size=8192) as (device, image):
        on(device).refused(WAL_REFUSED, "room")


def not_what_it_is_said_to_be():
    place = directory("kinds")
    (place / "file").write_bytes(bytes(MIB))
    with loop() as (device, image):
        before = digest(image)
        link = place / "link"
        link.symlink_to(device)
        for uri, said in [
            (f"file:{device}", "name it as block:"), (f"file:{link}", "name it as block:"),
            (f"block:{place / 'file'}", "name it as file:"), (f"block:{place / 'none'}", "is the device attached?"),
            ("block:/dev/null", "no block device"), (f"block:{place}", "no block device"),
        ]:
            Broker(arguments=["--wal-device", uri]).refused(WAL_REFUSED, said)
        for uri, said in [(str(device), "names no kind"), ("raw:/dev/x", "there are file, block and object")]:
            Broker(arguments=["--wal-device", uri]).refused(USAGE, said)
        equal(digest(image), before, "the device")
        with Broker(arguments=["--wal-device", f"block:{link}"]) as broker:
            broker.stop_clean()
        with Broker(arguments=["--wal-device", f"file:{place / 'elsewhere'}"], wal_size="8MiB") as broker:
            create_topic(broker, TOPIC)
            check_kept(broker, write(broker, 100))
            broker.stop_clean()
        equal((place / "elsewhere").stat().st_size, 8 * MIB, "length of a WAL that is a file elsewhere")


if __name__ == "__main__":
    run(killed_and_started_again, used_by_somebody_else, what_it_holds_stays, of_another_size, not_what_it_is_said_to_be)
