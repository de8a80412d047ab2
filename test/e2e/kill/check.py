"""Looks at the whole store after a restart and holds it against the oracle."""
import threading

from door import BadAnswer, Broken
from load import list_files, read_file
from oracle import Wrong


def read_all(oracle, server, files):
    """Reads files through as many connections as the load has; settles each. Raises Wrong."""
    queue = list(files)
    errors = []

    def work():
        door = server.door()
        try:
            while not errors:
                try:
                    file = queue.pop()
                except IndexError:
                    return
                file.settle(read_file(door, file.key))
        except (Wrong, BadAnswer, Broken) as error:
            errors.append(error if isinstance(error, Wrong) else Wrong(repr(error)))
        except Exception as error:  # a mistake of the test must fail it, not end a thread
            errors.append(Wrong(repr(error)))
            raise
        finally:
            door.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in oracle.owned]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def list_all(oracle, server):
    """Lists the bucket: each file of the oracle that exists is in it, and no other. Raises Wrong.
    Returns how many there are."""
    door = server.door()
    listed = 0
    try:
        missing = {key for key, file in oracle.files.items() if file.value() is not None}
        strangers = []
        for key, value, _ in list_files(door):
            listed += 1
            if key not in oracle.files:
                strangers.append((key, value))
                continue
            oracle.files[key].settle(value)
            missing.discard(key)
        if missing:
            raise Wrong(f'the listing lacks {len(missing)} files: {sorted(missing)[:5]}')
        for key, value in strangers:
            oracle.adopt(key, value.sha256, value.size).settle(read_file(door, key))
        oracle.nameless.clear()  # those that are not there now may never be
    except (BadAnswer, Broken) as error:
        raise Wrong(f'listing: {error}') from None
    finally:
        door.close()
    return listed


def check(oracle, server, touched, full):
    """Reads every file that was touched, or all there ever were if full, and the listing. Returns
    how many were read and how many are listed. Raises Wrong."""
    files = set(oracle.files.values()) if full else set(touched)
    files.update(file for file in oracle.files.values() if not file.known())
    read_all(oracle, server, files)
    return len(files), list_all(oracle, server)
