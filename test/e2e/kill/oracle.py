"""What a store must hold after what it has answered.

A File has one state that is known, or several that are possible: the last acknowledged one and
those of requests that had no answer since. Looking at it after a restart settles which one it is;
from then on it is known, and must stay.

Each File belongs to one thread while requests run, but for Race and Shared, which several write to
at once and which become Files when all of them have ended. Nothing here takes a lock but them.
"""
import hashlib
import threading


class Wrong(Exception):
    """The store holds or answered what it must not."""


class Value:
    """The content of a version. version is None until an answer told it."""
    __slots__ = ('sha256', 'size', 'version')

    def __init__(self, sha256, size, version=None):
        self.sha256 = sha256
        self.size = size
        self.version = version

    @staticmethod
    def of(body, version=None):
        """The value of a body."""
        return Value(hashlib.sha256(body).hexdigest(), len(body), version)

    def etag(self):
        """Its etag on the REST door."""
        return self.sha256[:40] + '-1'

    def fits(self, seen):
        """May seen, what was read, be this value?"""
        return (seen is not None and self.sha256 == seen.sha256 and self.size == seen.size
                and self.version in (None, seen.version))

    def __str__(self):
        return f'{self.sha256[:12]} of {self.size} bytes, version {self.version}'


class File:
    """One key: `maybe` is the list of its possible values, None standing for absence."""
    __slots__ = ('key', 'maybe', 'version')

    def __init__(self, key):
        self.key = key
        self.maybe = [None]
        self.version = ''  # the highest that an answer told

    def known(self):
        """Is there only one possible value?"""
        return len(self.maybe) == 1

    def value(self):
        """The known value, None if absent."""
        assert self.known()
        return self.maybe[0]

    def raise_version(self, version):
        """A newer version was told. Its text sorts as versions do."""
        if version <= self.version:
            raise Wrong(f'{self.key}: version {version} after {self.version}')
        self.version = version

    def acknowledged(self, value):
        """A write was answered with success; value has its version, None: deleted."""
        if value is not None:
            self.raise_version(value.version)
        self.maybe = [value]

    def unknown(self, value):
        """A write of value (None: a deletion) had no answer that tells what came of it."""
        self.maybe.append(value)

    def settle(self, seen):
        """The store shows seen (None: absent). Raises Wrong if that can't be."""
        for value in self.maybe:
            if seen is None and value is None:
                self.maybe = [None]
                return
            if value is not None and value.fits(seen):
                if value.version is None:
                    self.raise_version(seen.version)
                self.maybe = [seen]
                return
        expected = ' or '.join('nothing' if v is None else str(v) for v in self.maybe)
        raise Wrong(f'{self.key}: expected {expected}; found '
                    f'{"nothing" if seen is None else str(seen)}')


class Contest:
    """A key that several threads write to at once; the base of Race and Shared."""

    def __init__(self, key):
        self.file = File(key)
        self.lock = threading.Lock()
        self.won = []      # acknowledged values
        self.lost = 0      # writes that were refused because the key existed
        self.unknown = []  # values whose writing had no answer

    def answered(self, value):
        """A write was acknowledged; value has its version."""
        with self.lock:
            self.won.append(value)

    def refused(self):
        """A write was refused: the key exists."""
        with self.lock:
            self.lost += 1

    def unanswered(self, value):
        """A write had no answer."""
        with self.lock:
            self.unknown.append(value)


class Race(Contest):
    """A key that did not exist and that several create on condition that it does not."""

    def finish(self):
        """The File, after all have ended. Raises Wrong if two won, or all lost to nobody."""
        if len(self.won) > 1:
            raise Wrong(f'{self.file.key}: created {len(self.won)} times: '
                        + '; '.join(str(v) for v in self.won))
        if self.won:
            self.file.acknowledged(self.won[0])
        elif self.lost and not self.unknown:
            raise Wrong(f'{self.file.key}: {self.lost} refused because it exists, nobody made it')
        else:
            # A refusal waits for what it rests on: then the key is there for good.
            self.file.maybe = self.unknown + ([] if self.lost else [None])
        return self.file


class Shared(Contest):
    """A key that several overwrite without a condition; versions tell which was the last."""

    def __init__(self, file):
        super().__init__(file.key)
        self.file = file

    def finish(self):
        """The File, after all have ended."""
        versions = [value.version for value in self.won]
        if len(set(versions)) != len(versions):
            raise Wrong(f'{self.file.key}: a version was given twice: {sorted(versions)}')
        if self.won:
            if min(versions) <= self.file.version:
                raise Wrong(f'{self.file.key}: version {min(versions)} after {self.file.version}')
            self.file.acknowledged(max(self.won, key=lambda value: value.version))
        for value in self.unknown:
            self.file.unknown(value)
        return self.file


class Oracle:
    """All that the store must hold."""

    def __init__(self, connections):
        self.files = {}  # key → File
        self.owned = [[] for _ in range(connections)]  # Files that one connection writes to
        self.shared = []
        self.nameless = []  # Values of POSTs without a key that had no answer

    def add(self, file, owner=None):
        """Takes a File in."""
        assert file.key not in self.files
        self.files[file.key] = file
        if owner is not None:
            self.owned[owner].append(file)

    def adopt(self, key, sha256, size):
        """A key that nobody named: the File, if it is of a nameless POST without an answer."""
        for at, value in enumerate(self.nameless):
            if value.sha256 == sha256 and value.size == size:
                del self.nameless[at]
                file = File(key)
                file.maybe = [value]
                self.add(file)
                return file
        raise Wrong(f'{key}: nobody wrote this file of {size} bytes, {sha256[:12]}')
