"""The few file operations that everything durable is made of.

Three steps make a file durable: its bytes (fsync the file), its name (rename), and the name's entry (fsync the folder).
Each is needed: without the first a power cut leaves a file of the wrong size, without the last the file is still in
its old place. An fsync that failed is never retried on the same descriptor: the kernel has already marked the pages
clean. Nothing here follows a symbolic link at the last step of a path.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder_pin_plugin.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from filelock import BaseFileLock

FILE_MODE = 0o600
FOLDER_MODE = 0o700

LARGEST_NOTE = 64 << 20
"""Bytes of a file that `read_note` reads."""

_ADVICE = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "raise the user's disk quota or free some space",
    errno.EROFS: "the file system is read-only: remount it writable, and look at the kernel log for why",
    errno.EACCES: "let the user that runs the encoder write there",
    errno.EPERM: "let the user that runs the encoder write there",
    errno.ENOENT: "a folder is missing, or a symbolic link there points nowhere",
    errno.EXDEV: "its folders must be on one file system: is one of them a link or a mount?",
    errno.EIO: "the disk fails: look at the kernel log, and replace it",
    errno.EMFILE: "the process has too many open files: raise its limit (LimitNOFILE, ulimit -n)",
    errno.ENFILE: "the machine has too many open files",
    errno.ELOOP: "a symbolic link stands where a file of ours belongs: remove it",
    errno.EEXIST: "something else stands there: move it away",
    errno.EISDIR: "a folder stands where a file belongs: move it away",
    errno.ENOTDIR: "a file stands where a folder belongs: remove it",
}


@contextmanager
def storage_errors(doing: str, path: Path) -> Iterator[None]:
    """Turn an OSError into a `StorageError` that says what was being done, where, and what to do."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {doing} {path}: {error.strerror or error}; {advice(error)}") from error
    except NotImplementedError as error:  # how filelock says it
        text = f"cannot {doing} {path}: this file system has no locks; put the data folder (DATA_DIR) on a local disk"
        raise StorageError(text) from error


def advice(error: OSError) -> str:
    """What a person can do about `error`; where it is somebody else's file or folder that keeps us out, whose."""
    text = _ADVICE.get(error.errno or 0, "check the path and the disk")
    if isinstance(error, PermissionError) and isinstance(error.filename, str | os.PathLike):
        found, status = innermost(Path(error.filename))
        if status.st_uid != os.geteuid():
            return f"{found} belongs to user {status.st_uid}, and we are user {os.geteuid()}: {text}"
    return text


def innermost(path: Path) -> tuple[Path, os.stat_result]:
    """The last part of `path` that we can see, and what it is. Raises OSError where not even the root is seen."""
    for part in (path, *path.parents):
        with suppress(OSError):
            return part, part.stat()
    return path, path.stat()


def write_new(path: Path, content: bytes) -> None:
    """Create `path` with `content` and fsync it; its name is durable only after `fsync_folder` or `move`.

    Raises OSError (FileExistsError where something stands there already). What could not be written whole is removed.
    """
    write_pieces(path, (content,))


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """As `write_new`, for what is too large to be held at once."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        give_to_owner_of(path.parent, descriptor)
        for piece in pieces:
            write_all(descriptor, piece)
        os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(descriptor)


def make_file(path: Path) -> None:
    """Create `path`, empty, where nothing stands there yet. Raises OSError."""
    with suppress(FileExistsError):
        write_new(path, b"")


def give_to_owner_of(folder: Path, descriptor: int) -> None:
    """Give what root has just created to the folder's owner, so that `sudo encoder-pin …` never locks the encoder out
    of its own files; and let that owner read and write it, whatever umask a host or plugin has set. Raises OSError."""
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & FILE_MODE != FILE_MODE:
        os.fchmod(descriptor, mode | FILE_MODE)
    if os.geteuid() != 0:
        return
    owner = folder.stat()
    if owner.st_uid != 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte. A short write is continued once more by the system's own rules; no progress is ENOSPC."""
    view = memoryview(content)
    while view:
        written = os.write(descriptor, view)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[written:]


def move(source: Path, target: Path) -> None:
    """Rename `source` over `target` and make both folders' entries durable. Raises OSError."""
    source.rename(target)
    fsync_folder(target.parent)
    if source.parent != target.parent:
        fsync_folder(source.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` in the place of `path`: a reader sees the old file or the new one. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    write_new(temporary, content)
    try:
        move(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def fsync_folder(folder: Path) -> None:
    """Make the entries of `folder` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create `folder` and its missing parents, each one durable in its own parent. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=FOLDER_MODE)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & FOLDER_MODE != FOLDER_MODE:
            folder.chmod(mode | FOLDER_MODE)  # the umask keeps its own owner out
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            give_to_owner_of(folder.parent, descriptor)
        finally:
            os.close(descriptor)
    fsync_folder(folder.parent)


def read_regular(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes. Raises OSError; ELOOP for a link, EFBIG for a larger
    file, EINVAL for what is no regular file. Never blocks on a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(min(limit, max(status.st_size, 65536)) + 1)  # so much memory is taken at once
    finally:
        os.close(descriptor)


def read_note(path: Path) -> dict[str, Any]:
    """What stands in a small JSON file of ours whose loss costs nothing; empty where it is gone, damaged, or anything
    else. Never raises."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(read_regular(path, LARGEST_NOTE))
        if isinstance(content, dict):
            return content
    return {}


def unlock(lock: BaseFileLock) -> None:
    """Release a lock, also where the system refuses that the first time, as a network file system may: filelock then
    keeps it, and everybody would be locked out until this process ends. Raises StorageError at the second refusal."""
    with storage_errors("unlock", Path(lock.lock_file)):
        try:
            lock.release()
        except OSError:
            lock.release()


class SharedSync:
    """`os.sync()` shared by all who need one at the same time: it flushes every disk, and one is enough for a batch.

    Whoever asks while one is under way is served by the next, because its own writes may have come too late for the
    first. Kubo does not fsync blocks, so that a pin's record can survive a power cut that its blocks do not. A network
    file system that hangs lets the call hang for as long: it has a thread of its own, and who waits is told in time.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._asked = 0
        self._done = 0
        self._running = False

    def wait(self, timeout: float = 300.0) -> None:
        """Return after a sync that began after this call. Raises StorageError where that takes longer than `timeout`
        seconds."""
        with self._condition:
            self._asked += 1
            mine = self._asked
            if not self._running:
                threading.Thread(target=self._work, name="encoder-pin-sync", daemon=True).start()
                self._running = True
            if not self._condition.wait_for(lambda: self._done >= mine, timeout):
                raise StorageError(
                    f"the disks of this machine have not been flushed (sync) within {timeout:.0f} s: nothing is called"
                    " safe before; look for a disk or a network mount that hangs (kernel log, mount, df)"
                )

    def _work(self) -> None:
        while True:
            with self._condition:
                upto = self._asked
                if upto == self._done:
                    self._running = False
                    return
            os.sync()
            with self._condition:
                self._done = upto
                self._condition.notify_all()
