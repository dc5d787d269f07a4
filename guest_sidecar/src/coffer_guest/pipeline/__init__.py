"""The data path of backups: a stream in, an authenticated encrypted object out, and back.

Owns blocks, keys, manifests, threads and child processes. Never knows engines or Kubernetes, and
reaches object stores only through `store.ObjectStore`.

Attack model: whoever holds the bucket reads, alters, drops, swaps and replays objects at will. He
learns sizes and times, and can destroy; he can neither read a backup nor have a restore deliver
one byte that this backup did not contain.
"""
